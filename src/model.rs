//! The notebook's two models, built with `nn::seq_t`, and the layers they consist of (`torch.nn`).
//!
//! Parameters are named as in Python's `state_dict()`, so the weights go by the same names. Input is
//! `[N, 1, 28, 28]`, output the logits `[N, 10]`.

use tch::Tensor;
use tch::nn::{self, Module, ModuleT, Path};

use crate::generator::Generator;

/// A layer that can say what it is, so that a summary need not run it.
pub trait Layer: ModuleT {
    fn info(&self) -> LayerInfo;
}

/// A layer's class name in `torch.nn`, its parameters' shapes and the layers inside it.
#[derive(Clone, Debug)]
pub struct LayerInfo {
    pub class_name: &'static str,
    pub parameters: Vec<Vec<i64>>,
    pub children: Vec<LayerInfo>,
    /// The shape the layer makes of an input shape; of a container, what its layers make of it in turn.
    pub output_size: fn(&LayerInfo, &[i64]) -> Vec<i64>,
}

impl LayerInfo {
    /// A layer without parameters that keeps the shape.
    fn elementwise(class_name: &'static str) -> Self {
        Self { class_name, parameters: vec![], children: vec![], output_size: |_, input| input.to_vec() }
    }

    fn container(class_name: &'static str, children: Vec<LayerInfo>) -> Self {
        let output_size: fn(&LayerInfo, &[i64]) -> Vec<i64> = |info, input| {
            info.children.iter().fold(input.to_vec(), |size, child| (child.output_size)(child, &size))
        };
        Self { class_name, parameters: vec![], children, output_size }
    }
}

/// `nn.Sequential`: tch's, which keeps its layers to itself, with what they say of themselves.
#[derive(Debug)]
pub struct Sequential {
    layers: nn::SequentialT,
    children: Vec<LayerInfo>,
}

/// An empty [`Sequential`].
pub fn sequential() -> Sequential {
    Sequential { layers: nn::seq_t(), children: vec![] }
}

impl Sequential {
    /// Appends a layer.
    #[allow(clippy::should_implement_trait)] // the name that tch's Sequential has
    pub fn add<L: Layer + 'static>(mut self, layer: L) -> Self {
        self.children.push(layer.info());
        self.layers = self.layers.add(layer);
        self
    }
}

impl ModuleT for Sequential {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        self.layers.forward_t(xs, train)
    }
}

impl Layer for Sequential {
    fn info(&self) -> LayerInfo {
        LayerInfo::container("Sequential", self.children.clone())
    }
}

/// `nn.Flatten`: `[N, ...]` to `[N, product of the rest]`.
#[derive(Debug)]
pub struct Flatten;

impl Module for Flatten {
    fn forward(&self, xs: &Tensor) -> Tensor {
        xs.flatten(1, -1)
    }
}

impl Layer for Flatten {
    fn info(&self) -> LayerInfo {
        LayerInfo {
            class_name: "Flatten",
            parameters: vec![],
            children: vec![],
            output_size: |_, input| vec![input[0], input[1..].iter().product()],
        }
    }
}

/// `nn.Linear(in_features, out_features)` with PyTorch's initialization, `nn.Linear.reset_parameters`:
/// the weight drawn first, `kaiming_uniform_(a=sqrt(5))`, then the bias. (`nn::linear` of tch uses another
/// bound and draws the bias first.) The order of the f64 operations is PyTorch's too: the bounds' last bits
/// show in the weights.
pub fn linear(vs: Path, in_features: i64, out_features: i64, generator: &Generator) -> nn::Linear {
    let fan_in = in_features as f64;
    let gain = (2.0 / (1.0 + 5f64.sqrt().powi(2))).sqrt();
    let std = gain / fan_in.sqrt();
    let weight_bound = 3f64.sqrt() * std;
    let bias_bound = 1.0 / fan_in.sqrt();

    let uniform = |name: &str, size: &[i64], bound: f64| {
        let values = generator.uniform(size.iter().product::<i64>() as usize, -bound, bound);
        vs.var_copy(name, &Tensor::from_slice(&values).view(size))
    };
    nn::Linear {
        ws: uniform("weight", &[out_features, in_features], weight_bound),
        bs: Some(uniform("bias", &[out_features], bias_bound)),
    }
}

impl Layer for nn::Linear {
    fn info(&self) -> LayerInfo {
        LayerInfo {
            class_name: "Linear",
            parameters: std::iter::once(&self.ws).chain(&self.bs).map(Tensor::size).collect(),
            children: vec![],
            output_size: |info, input| {
                let (_, batch) = input.split_last().expect("a linear layer's input has a last dimension");
                [batch, &info.parameters[0][..1]].concat()
            },
        }
    }
}

/// `nn.ReLU`.
#[derive(Debug)]
pub struct ReLU;

impl Module for ReLU {
    fn forward(&self, xs: &Tensor) -> Tensor {
        xs.relu()
    }
}

impl Layer for ReLU {
    fn info(&self) -> LayerInfo {
        LayerInfo::elementwise("ReLU")
    }
}

/// `nn.Dropout(p)`, its mask drawn from a [`Generator`]: in training x · (mask / (1 - p)) with
/// mask = `bernoulli_(1 - p)`, as `_dropout_impl` in `ATen/native/Dropout.cpp`; otherwise x.
#[derive(Debug)]
pub struct Dropout {
    p: f64,
    generator: Generator,
}

/// A [`Dropout`] layer that draws from `generator`.
pub fn dropout(p: f64, generator: &Generator) -> Dropout {
    Dropout { p, generator: generator.clone() }
}

impl ModuleT for Dropout {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        if !train {
            return xs.shallow_clone();
        }
        let keep = 1.0 - self.p;
        let mask = Tensor::from_slice(&self.generator.bernoulli(xs.numel(), keep)).view_as(xs);
        xs * (mask / keep)
    }
}

impl Layer for Dropout {
    fn info(&self) -> LayerInfo {
        LayerInfo::elementwise("Dropout")
    }
}

/// The notebook's `MNISTModel`: two hidden layers of 256 and 128 units.
#[derive(Debug)]
pub struct MnistModel {
    forward: Sequential,
}

impl MnistModel {
    pub fn new(vs: &Path, generator: &Generator) -> Self {
        let layer1 = sequential()
            .add(Flatten)
            .add(linear(vs / "layer1" / "1", 28 * 28, 256, generator))
            .add(ReLU)
            .add(dropout(0.4, generator));
        let layer2 = sequential()
            .add(linear(vs / "layer2" / "0", 256, 128, generator))
            .add(ReLU)
            .add(dropout(0.3, generator));
        let forward =
            sequential().add(layer1).add(layer2).add(linear(vs / "_forward" / "2", 128, 10, generator));
        Self { forward }
    }
}

impl ModuleT for MnistModel {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        self.forward.forward_t(xs, train)
    }
}

impl Layer for MnistModel {
    fn info(&self) -> LayerInfo {
        LayerInfo::container("MNISTModel", vec![self.forward.info()])
    }
}

/// The notebook's `MNIST_MLR`, multinomial logistic regression: one linear layer.
#[derive(Debug)]
pub struct MnistMlr {
    linear: Sequential,
}

impl MnistMlr {
    pub fn new(vs: &Path, generator: &Generator) -> Self {
        let linear = sequential().add(Flatten).add(linear(vs / "linear" / "1", 784, 10, generator));
        Self { linear }
    }
}

impl ModuleT for MnistMlr {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        self.linear.forward_t(xs, train)
    }
}

impl Layer for MnistMlr {
    fn info(&self) -> LayerInfo {
        LayerInfo::container("MNIST_MLR", vec![self.linear.info()])
    }
}
