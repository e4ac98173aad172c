//! The shortest time in which libtorch's kernels can compute a step of the MLP to the same bits: forward, backward and
//! RMSprop written out, everything in place, without autograd. The time that `step of MNIST` in step.rs takes beyond it is
//! the cost of autograd, its allocations and the calls.

mod common;

use common::{BATCH_SIZE, gradients, module};
use criterion::{Criterion, criterion_group, criterion_main};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use tch::{Device, Kind, Reduction, Tensor, no_grad};

const LR: f64 = 0.01;
const WIDTHS: [i64; 4] = [784, 256, 128, 10];
/// The fraction of each hidden layer's output that dropout keeps.
const KEEP: [f64; 2] = [1.0 - 0.4, 1.0 - 0.3];
/// The parameters, in the order of the layers.
const NAMES: [&str; 6] = [
    "layer1.1.weight",
    "layer1.1.bias",
    "layer2.0.weight",
    "layer2.0.bias",
    "_forward.2.weight",
    "_forward.2.bias",
];

fn zeros(size: &[i64]) -> Tensor {
    Tensor::zeros(size, (Kind::Float, Device::Cpu))
}

/// Parts of one flat tensor, in the parameters' shapes.
fn parts(flat: &Tensor, parameters: &[Tensor]) -> Vec<Tensor> {
    let mut start = 0;
    let part = |parameter: &Tensor| {
        let length = parameter.numel() as i64;
        start += length;
        flat.narrow(0, start - length, length).view(&parameter.size()[..])
    };
    parameters.iter().map(part).collect()
}

/// The data of a step. `hidden` is the output of each layer's ReLU, `dropped` that of its dropout.
struct WrittenOut {
    lr: f64,
    generator: Generator,
    images: Tensor,
    labels: Tensor,
    theta: Tensor,
    grad: Tensor,
    square_avg: Tensor,
    avg: Tensor,
    parameters: Vec<Tensor>,
    gradients: Vec<Tensor>,
    hidden: [Tensor; 2],
    dropped: [Tensor; 2],
    grad_hidden: [Tensor; 2],
    logits: Tensor,
    log_softmax: Tensor,
    grad_logits: Tensor,
    weight: Tensor,
}

impl WrittenOut {
    fn new(lr: f64, parameters: &[Tensor], images: &Tensor, labels: &Tensor, state: &[u8]) -> Self {
        let generator = Generator::new(0);
        generator.set_state(state).expect("a state");
        let flat: Vec<_> = parameters.iter().map(|parameter| parameter.detach().view(-1)).collect();
        let theta = Tensor::cat(&flat, 0);
        let (grad, square_avg, avg) = (zeros(&theta.size()), zeros(&theta.size()), zeros(&theta.size()));
        let hidden = || [zeros(&[BATCH_SIZE, WIDTHS[1]]), zeros(&[BATCH_SIZE, WIDTHS[2]])];
        let logits = || zeros(&[BATCH_SIZE, WIDTHS[3]]);
        Self {
            lr,
            generator,
            images: images.flatten(1, -1),
            labels: labels.shallow_clone(),
            parameters: parts(&theta, parameters),
            gradients: parts(&grad, parameters),
            theta,
            grad,
            square_avg,
            avg,
            hidden: hidden(),
            dropped: hidden(),
            grad_hidden: hidden(),
            logits: logits(),
            log_softmax: logits(),
            grad_logits: logits(),
            weight: Tensor::from((1.0 - 0.99) as f32),
        }
    }

    fn step(&mut self) {
        no_grad(|| {
            let masks = self.forward();
            self.backward(&masks);
            self.rmsprop();
        });
    }

    /// Returns the two masks.
    fn forward(&mut self) -> Vec<Tensor> {
        let mut masks = vec![];
        for (layer, keep) in KEEP.into_iter().enumerate() {
            let input = if layer == 0 { &self.images } else { &self.dropped[layer - 1] };
            let (weight, bias) = (&self.parameters[2 * layer], &self.parameters[2 * layer + 1]);
            let hidden = &mut self.hidden[layer];
            let _ = bias.addmm_out(hidden, input, &weight.tr());
            let _ = hidden.relu_();
            let mask = self.generator.dropout_mask(hidden.numel(), keep);
            let mask = Tensor::from_slice(&mask).view_as(hidden);
            let _ = hidden.mul_out(&self.dropped[layer], &mask);
            masks.push(mask);
        }
        let _ = self.parameters[5].addmm_out(&self.logits, &self.dropped[1], &self.parameters[4].tr());
        let _ = self.logits.internal_log_softmax_out(&self.log_softmax, 1, false);
        masks
    }

    fn backward(&mut self, masks: &[Tensor]) {
        let (one, count) = (Tensor::from(1f32), Tensor::from(BATCH_SIZE as f32));
        let mean = Reduction::Mean;
        let labels = &self.labels;
        let grad = self.log_softmax.nll_loss_backward::<Tensor>(&one, labels, None, mean, -100, &count);
        let (out, log_softmax) = (&self.grad_logits, &self.log_softmax);
        let _ = Tensor::internal_log_softmax_backward_data_out(out, &grad, log_softmax, 1, Kind::Float);
        for layer in (0..3).rev() {
            let grad = if layer == 2 { &self.grad_logits } else { &self.grad_hidden[layer] };
            let input = if layer == 0 { &self.images } else { &self.dropped[layer - 1] };
            let _ = grad.sum_intlist_out(&self.gradients[2 * layer + 1], 0, false, Kind::Float);
            let _ = grad.tr().mm_out(&self.gradients[2 * layer], input);
            if layer > 0 {
                let mut below = self.grad_hidden[layer - 1].shallow_clone();
                let _ = grad.mm_out(&below, &self.parameters[2 * layer]);
                let _ = below.g_mul_(&masks[layer - 1]);
                let _ = self.hidden[layer - 1].threshold_backward_grad_input(&below, &below, 0.0);
            }
        }
    }

    /// `RmsProp::single_tensor` in src/torch/optim/rmsprop.rs.
    fn rmsprop(&mut self) {
        let Self { lr, theta, grad, square_avg, avg, weight, .. } = self;
        let weighted = grad.mul_out(avg, weight);
        let _ = square_avg.g_mul_scalar_(0.99).addcmul_(&weighted, grad);
        let _ = square_avg.clamp_min_out(avg, 1e-36).sqrt_().g_add_scalar_(1e-8);
        let _ = grad.g_mul_scalar_(-*lr);
        let _ = theta.addcdiv_(grad, avg);
    }
}

fn floor(c: &mut Criterion) {
    let generator = Generator::new(0);
    let (mut module, images, labels) = module(Model::Mlp, LR, &generator);
    let mut variables = module.vs.variables();
    let parameters = NAMES.map(|name| variables.remove(name).expect("the model's parameter"));

    let written_out = |lr| WrittenOut::new(lr, &parameters, &images, &labels, &generator.get_state());
    // The measured one has a learning rate of 0, so that the step stays the same.
    let [mut checked, mut measured] = [LR, 0.0].map(written_out);
    for step in 1..=20 {
        let gradients = gradients(&module, &images, &labels);
        module.optimizer.step(&gradients).expect("memory suffices");
        checked.step();
        for (name, (ours, theirs)) in NAMES.iter().zip(parameters.iter().zip(&checked.parameters)) {
            assert!(ours.equal(theirs), "{name} differs after step {step}");
        }
    }
    c.bench_function("step of MNIST, written out", |b| b.iter(|| measured.step()));
}

criterion_group!(benches, floor);
criterion_main!(benches);
