//! What a layer says of itself, so that nothing need run for a summary, and no wrong input gets as far as libtorch.

use tch::nn::ModuleT;

use crate::torch::Error;

/// A layer that can say what it is, so that a summary need not run it.
///
/// `forward_t`, which tch prescribes, panics when libtorch refuses an input;
/// `islp::SimpleModule::forward` gives an error instead.
///
/// ```
/// use islp_mnist::torch::{Generator, nn::{Layer, LayerInfo, Sequential, linear, sequential}};
/// use tch::{Device, Tensor, nn::{ModuleT, VarStore}};
///
/// /// A Python class that wraps other layers.
/// #[derive(Debug)]
/// struct Classifier(Sequential);
///
/// impl ModuleT for Classifier {
///     fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
///         self.0.forward_t(xs, train)
///     }
/// }
///
/// impl Layer for Classifier {
///     fn info(&self) -> LayerInfo {
///         LayerInfo::container("Classifier", vec![self.0.info()])
///     }
/// }
///
/// let vs = VarStore::new(Device::Cpu);
/// let layers = sequential().add(linear(vs.root() / "0", 4, 2, &Generator::new(0))?);
/// assert_eq!(Classifier(layers).info().output_size(&[7, 4])?, [7, 2]);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
pub trait Layer: ModuleT {
    /// What kind of layer it is.
    fn info(&self) -> LayerInfo;
}

/// A layer's class name in `torch.nn`, its parameters' shapes and the layers inside it.
///
/// ```
/// use islp_mnist::torch::nn::{Flatten, Layer};
///
/// let info = Flatten.info();
/// assert_eq!((info.class_name, info.num_params()), ("Flatten", 0));
/// assert_eq!(info.output_size(&[256, 1, 28, 28])?, [256, 784]);
/// assert!(info.output_size(&[]).is_err());
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LayerInfo {
    /// The name of the Python class.
    pub class_name: &'static str,
    /// The shapes of the layer's own parameters, weight first.
    pub parameters: Vec<Vec<i64>>,
    /// The layers inside, in the order in which they run.
    pub children: Vec<LayerInfo>,
    /// The shape the layer makes of an input shape; of a container, what its layers make of it in turn. An error if
    /// the layer does not take that shape.
    pub output_size: fn(&LayerInfo, &[i64]) -> Result<Vec<i64>, Error>,
}

impl LayerInfo {
    /// A layer without parameters that keeps the shape.
    pub(super) fn elementwise(class_name: &'static str) -> Self {
        Self { class_name, parameters: vec![], children: vec![], output_size: |_, input| Ok(input.to_vec()) }
    }

    /// A module that runs other modules one after the other.
    pub fn container(class_name: &'static str, children: Vec<LayerInfo>) -> Self {
        let output_size: fn(&LayerInfo, &[i64]) -> Result<Vec<i64>, Error> = |info, input| {
            info.children.iter().try_fold(input.to_vec(), |size, child| child.output_size(&size))
        };
        Self { class_name, parameters: vec![], children, output_size }
    }

    /// The shape the layer makes of an input shape.
    ///
    /// # Errors
    /// A shape that the layer does not take.
    pub fn output_size(&self, input_size: &[i64]) -> Result<Vec<i64>, Error> {
        (self.output_size)(self, input_size)
    }

    /// The number of parameters, the inner layers' included.
    pub fn num_params(&self) -> i64 {
        let own = self.parameters.iter().map(|size| size.iter().product::<i64>());
        own.chain(self.children.iter().map(Self::num_params)).sum()
    }

    /// The number of modules, this one and the inner ones.
    pub fn num_modules(&self) -> usize {
        1 + self.children.iter().map(Self::num_modules).sum::<usize>()
    }
}
