//! The outputs of a model's layers, as a forward hook of PyTorch gets them.

use std::cell::RefCell;

use tch::Tensor;

thread_local! {
    static RECORDING: RefCell<Option<Recording>> = const { RefCell::new(None) };
}

#[derive(Default)]
struct Recording {
    /// The name of the layer that runs and a dot; empty outside all layers.
    path: String,
    outputs: Vec<(String, Tensor)>,
}

/// Records what the layers return that this thread runs until it is dropped, like a hook of
/// `torch.nn.modules.module.register_module_forward_hook`.
///
/// A layer in a [`Sequential`](super::nn::Sequential) is recorded with its name in it. [`layer`] runs any other layer so that
/// it is recorded. Nothing is recorded of a layer that returns the tensor of the layer before it, such as a container.
///
/// ```
/// use islp_mnist::torch::{Generator, nn::{ReLU, linear, sequential}, outputs::{LayerOutputs, layer}};
/// use tch::{Device, Kind, Tensor, nn::{ModuleT, VarStore}};
///
/// let vs = VarStore::new(Device::Cpu);
/// let hidden = sequential().add(linear(vs.root() / "0", 4, 2, &Generator::new(0))?).add(ReLU);
/// let outputs = LayerOutputs::record();
/// layer("hidden", || hidden.forward_t(&Tensor::ones([8, 4], (Kind::Float, Device::Cpu)), true));
/// let names: Vec<_> = outputs.take().into_iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["hidden.0", "hidden.1"]);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug)]
pub struct LayerOutputs(());

impl LayerOutputs {
    /// Starts recording. Only one can record in a thread: it replaces an earlier one.
    pub fn record() -> Self {
        RECORDING.set(Some(Recording::default()));
        Self(())
    }

    /// Ends recording; returns the outputs by their layers' names, in the order in which they were computed.
    pub fn take(self) -> Vec<(String, Tensor)> {
        RECORDING.take().map(|recording| recording.outputs).unwrap_or_default()
    }
}

impl Drop for LayerOutputs {
    fn drop(&mut self) {
        RECORDING.set(None);
    }
}

/// Runs a layer, which is recorded under this name; inside another layer with that one's name before it.
pub fn layer(name: &str, forward: impl FnOnce() -> Tensor) -> Tensor {
    run(|path| format!("{path}{name}."), forward)
}

/// Runs layers whose names begin with this one, whatever layer they are in.
pub(super) fn within(name: &str, forward: impl FnOnce() -> Tensor) -> Tensor {
    run(|_| format!("{name}."), forward)
}

fn run(inner: impl FnOnce(&str) -> String, forward: impl FnOnce() -> Tensor) -> Tensor {
    let enter = |recording: &mut Recording| {
        let path = inner(&recording.path);
        std::mem::replace(&mut recording.path, path)
    };
    let Some(outer) = RECORDING.with_borrow_mut(|recording| recording.as_mut().map(enter)) else {
        return forward();
    };
    let output = forward();
    RECORDING.with_borrow_mut(|recording| {
        let Some(Recording { path, outputs }) = recording else { return };
        let mut name = std::mem::replace(path, outer);
        name.pop();
        let is_same =
            |(_, last): &(_, Tensor)| last.data_ptr() == output.data_ptr() && last.size() == output.size();
        if !outputs.last().is_some_and(is_same) {
            outputs.push((name, output.shallow_clone()));
        }
    });
    output
}
