//! The layers of `torch.nn` that the notebook's models use, and what they report about themselves.

use std::panic::panic_any;

use tch::nn::{self, Module, ModuleT, Path};
use tch::{TchError, Tensor};

use super::{Error, Generator, outputs};

/// A layer that describes itself, so that a summary does not have to run it and no invalid input reaches libtorch.
///
/// `forward_t`, whose signature is tch's, panics when libtorch refuses an input;
/// `islp::SimpleModule::forward` returns an error instead.
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
    /// The layer's description.
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
    /// Maps an input's shape to the output's; a container passes it through its layers one after the other. Fails if the
    /// layer does not take the shape.
    pub output_size: fn(&LayerInfo, &[i64]) -> Result<Vec<i64>, Error>,
}

impl LayerInfo {
    /// A layer without parameters that keeps the shape.
    fn elementwise(class_name: &'static str) -> Self {
        Self { class_name, parameters: vec![], children: vec![], output_size: |_, input| Ok(input.to_vec()) }
    }

    /// A module that runs other modules one after the other.
    pub fn container(class_name: &'static str, children: Vec<LayerInfo>) -> Self {
        let output_size: fn(&LayerInfo, &[i64]) -> Result<Vec<i64>, Error> = |info, input| {
            info.children.iter().try_fold(input.to_vec(), |size, child| child.output_size(&size))
        };
        Self { class_name, parameters: vec![], children, output_size }
    }

    /// The output's shape for an input's.
    ///
    /// # Errors
    /// Fails if the layer does not take the shape.
    pub fn output_size(&self, input_size: &[i64]) -> Result<Vec<i64>, Error> {
        (self.output_size)(self, input_size)
    }

    /// The number of parameters, including those of the layers inside.
    pub fn num_params(&self) -> i64 {
        let own = self.parameters.iter().map(|size| size.iter().product::<i64>());
        own.chain(self.children.iter().map(Self::num_params)).sum()
    }

    /// The number of modules, including this one.
    pub fn num_modules(&self) -> usize {
        1 + self.children.iter().map(Self::num_modules).sum::<usize>()
    }
}

/// `nn.Sequential`, around tch's `nn::seq_t`, which does not give access to its layers.
///
/// ```
/// use islp_mnist::torch::{Generator, nn::{Flatten, Layer, ReLU, dropout, linear, sequential}};
/// use tch::{Device, nn::VarStore};
///
/// let (vs, generator) = (VarStore::new(Device::Cpu), Generator::new(0));
/// let layers = sequential()
///     .add(Flatten)
///     .add(linear(vs.root() / "1", 784, 256, &generator)?)
///     .add(ReLU)
///     .add(dropout(0.4, &generator)?);
/// assert_eq!(layers.info().num_params(), 200_960);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug)]
pub struct Sequential {
    name: Option<&'static str>,
    layers: nn::SequentialT,
    children: Vec<LayerInfo>,
}

/// An empty [`Sequential`].
pub fn sequential() -> Sequential {
    Sequential { name: None, layers: nn::seq_t(), children: vec![] }
}

/// A layer whose output can be recorded.
#[derive(Debug)]
struct Named<L> {
    name: String,
    layer: L,
}

impl<L: Layer> ModuleT for Named<L> {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        outputs::layer(&self.name, || self.layer.forward_t(xs, train))
    }
}

impl Sequential {
    /// Appends a layer. Its name is its index, counted from 0.
    #[allow(clippy::should_implement_trait)] // the name that tch's Sequential has
    pub fn add<L: Layer + 'static>(mut self, layer: L) -> Self {
        let name = self.children.len().to_string();
        self.children.push(layer.info());
        self.layers = self.layers.add(Named { name, layer });
        self
    }

    /// Names it for [`LayerOutputs`](outputs::LayerOutputs), whatever layer it is in: the attribute that a Python module
    /// assigns it to first.
    pub fn named(mut self, name: &'static str) -> Self {
        self.name = Some(name);
        self
    }
}

impl ModuleT for Sequential {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        match self.name {
            Some(name) => outputs::within(name, || self.layers.forward_t(xs, train)),
            None => self.layers.forward_t(xs, train),
        }
    }
}

impl Layer for Sequential {
    fn info(&self) -> LayerInfo {
        LayerInfo::container("Sequential", self.children.clone())
    }
}

/// A class derived from `nn.Module` whose `forward` calls one layer.
///
/// ```
/// use islp_mnist::torch::{Generator, nn::{Flatten, Layer, container, linear, sequential}};
/// use tch::{Device, nn::VarStore};
///
/// let vs = VarStore::new(Device::Cpu);
/// let layers = sequential().add(Flatten).add(linear(vs.root() / "linear" / "1", 784, 10, &Generator::new(0))?);
/// let model = container("MNIST_MLR", layers);
/// assert_eq!((model.info().class_name, model.info().num_params()), ("MNIST_MLR", 7850));
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug)]
pub struct Container {
    class_name: &'static str,
    layer: Box<dyn Layer>,
}

/// A [`Container`] with the name of the Python class.
pub fn container(class_name: &'static str, layer: impl Layer + 'static) -> Container {
    Container { class_name, layer: Box::new(layer) }
}

impl ModuleT for Container {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        self.layer.forward_t(xs, train)
    }
}

impl Layer for Container {
    fn info(&self) -> LayerInfo {
        LayerInfo::container(self.class_name, vec![self.layer.info()])
    }
}

/// `nn.Flatten`: `[N, ...]` to `[N, product of the rest]`.
///
/// ```
/// use islp_mnist::torch::nn::Flatten;
/// use tch::{Device, Kind, Tensor, nn::Module};
///
/// let images = Tensor::zeros([256, 1, 28, 28], (Kind::Float, Device::Cpu));
/// assert_eq!(Flatten.forward(&images).size(), [256, 784]);
/// ```
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
            output_size: |_, input| {
                let refused = || Error::Shape { layer: "Flatten", takes: "[N, ...]".into(), size: vec![] };
                let (batch, rest) = input.split_first().ok_or_else(refused)?;
                Ok(vec![*batch, rest.iter().product()])
            },
        }
    }
}

/// `nn.Linear(in_features, out_features)`: `[N, in_features]` to `[N, out_features]`.
///
/// Initialized like `nn.Linear.reset_parameters`: the weight is drawn first, `kaiming_uniform_(a=sqrt(5))`, then the bias,
/// with f64 operations in PyTorch's order. (`nn::linear` of tch uses another bound and draws the bias first.)
///
/// # Errors
/// Fails if a number of features is below 1, or libtorch fails.
pub fn linear(
    vs: Path,
    in_features: i64,
    out_features: i64,
    generator: &Generator,
) -> Result<nn::Linear, Error> {
    if in_features < 1 || out_features < 1 {
        return Err(Error::Features { in_features, out_features });
    }
    let fan_in = in_features as f64;
    let gain = (2.0 / (1.0 + 5f64.sqrt().powi(2))).sqrt();
    let std = gain / fan_in.sqrt();
    let weight_bound = 3f64.sqrt() * std;
    let bias_bound = 1.0 / fan_in.sqrt();

    let uniform = |name: &str, size: &[i64], bound: f64| -> Result<Tensor, TchError> {
        let values = generator.uniform(size.iter().product::<i64>() as usize, -bound, bound);
        vs.f_var_copy(name, &Tensor::f_from_slice(&values)?.f_view(size)?)
    };
    Ok(nn::Linear {
        ws: uniform("weight", &[out_features, in_features], weight_bound)?,
        bs: Some(uniform("bias", &[out_features], bias_bound)?),
    })
}

impl Layer for nn::Linear {
    fn info(&self) -> LayerInfo {
        LayerInfo {
            class_name: "Linear",
            parameters: std::iter::once(&self.ws).chain(&self.bs).map(Tensor::size).collect(),
            children: vec![],
            output_size: |info, input| {
                let [out_features, in_features] = info.parameters[0][..] else { unreachable!("a matrix") };
                match input.split_last() {
                    Some((&features, batch)) if features == in_features => {
                        Ok([batch, &[out_features]].concat())
                    }
                    _ => {
                        let takes = format!("[..., {in_features}]");
                        Err(Error::Shape { layer: "Linear", takes, size: input.to_vec() })
                    }
                }
            },
        }
    }
}

/// `nn.ReLU`.
///
/// ```
/// use islp_mnist::torch::nn::ReLU;
/// use tch::{Tensor, nn::Module};
///
/// let xs = Tensor::from_slice(&[-1f32, 0.5]);
/// assert!(ReLU.forward(&xs) == Tensor::from_slice(&[0f32, 0.5]));
/// ```
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
///
/// On CUDA, or if [`draw_dropout_from`](Generator::draw_dropout_from) requests it, the mask is drawn from
/// [CUDA's generator](crate::torch::CudaGenerator) instead, as in PyTorch.
///
/// ```
/// use islp_mnist::torch::{Generator, nn::dropout};
/// use tch::{Tensor, nn::ModuleT};
///
/// let layer = dropout(0.5, &Generator::new(0))?;
/// let xs = Tensor::from_slice(&[1f32; 4]);
/// assert!(layer.forward_t(&xs, false) == xs);
/// let kept = Vec::<f32>::try_from(layer.forward_t(&xs, true)).unwrap();
/// assert!(kept.iter().all(|&x| x == 0.0 || x == 2.0));
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug)]
pub struct Dropout {
    p: f64,
    generator: Generator,
}

/// A [`Dropout`] layer that draws from `generator`.
///
/// # Errors
/// Fails if `p` is not a probability.
pub fn dropout(p: f64, generator: &Generator) -> Result<Dropout, Error> {
    if !(0.0..=1.0).contains(&p) {
        return Err(Error::Probability(p));
    }
    Ok(Dropout { p, generator: generator.clone() })
}

impl ModuleT for Dropout {
    fn forward_t(&self, xs: &Tensor, train: bool) -> Tensor {
        // As in ATen, which draws nothing if nothing or everything is dropped.
        if !train || self.p == 0.0 {
            return xs.shallow_clone();
        }
        if self.p == 1.0 {
            return xs * 0.0;
        }
        if self.generator.draws_dropout_from_cuda(xs.device()) {
            return self.generator.cuda().dropout(xs, self.p).unwrap_or_else(|error| panic_any(error));
        }
        let keep = 1.0 - self.p;
        let mask = Tensor::from_slice(&self.generator.dropout_mask(xs.numel(), keep));
        xs * mask.to_device(xs.device()).view_as(xs)
    }
}

impl Layer for Dropout {
    fn info(&self) -> LayerInfo {
        LayerInfo::elementwise("Dropout")
    }
}
