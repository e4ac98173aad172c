//! A training of your own with a trace, as in docs/parity.md; tests/own_training.py does the same in Python.
//!
//!     cargo run --release --example trace

use std::process::ExitCode;

use islp_mnist::torch::data::{DataLoader, Subset};
use islp_mnist::torch::nn::linear;
use islp_mnist::torch::outputs::{LayerOutputs, layer};
use islp_mnist::torch::{
    Generator,
    optim::{Optimizer, RmsProp, RmsPropOptions},
};
use islp_mnist::trace::{State, Trace};
use tch::nn::{Module, VarStore};
use tch::{Device, Kind, Tensor};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(0));
    let x = Tensor::from_slice(&generator.uniform(64 * 4, -1.0, 1.0)).view([64, 4]);
    let y = x.sum_dim_intlist(1, false, Kind::Float).gt(0.0).to_kind(Kind::Int64);
    let data = Subset::whole(&x, &y)?;
    let mut loader = DataLoader::new(&data, 16, &generator);
    loader.shuffle = true;
    let linear = linear(vs.root() / "layer", 4, 2, &generator)?;
    let mut optimizer = RmsProp::new(&vs, RmsPropOptions::default())?;

    let mut trace = Trace::create("rust.trace".as_ref(), Some(0..=7))?;
    trace.start_fit("Classifier");
    let mut step = 0;
    for epoch in 0..2 {
        for batch in loader.iter()? {
            let (x, y) = batch?;
            trace.start_step(epoch, step, &State::of(&vs, &optimizer, &generator, step))?;
            trace.record("input", &x)?;
            trace.record("target", &y)?;
            let outputs = LayerOutputs::record();
            let logits = layer("layer", || linear.forward(&x));
            let loss = logits.cross_entropy_for_logits(&y);
            trace.record_forward(outputs, &logits, &loss)?;
            let gradients = optimizer.gradients(&loss)?;
            optimizer.step(&gradients)?;
            step += 1;
            let names = optimizer.parameters().into_iter().map(|(name, _)| name);
            for (name, gradient) in names.zip(&gradients) {
                trace.record(&format!("grad.{name}"), gradient)?;
            }
            trace.end_step(&State::of(&vs, &optimizer, &generator, step))?;
        }
    }
    trace.end_fit(&State::of(&vs, &optimizer, &generator, step))?;
    Ok(())
}
