//! `torch.Generator`.

use islp_mnist::torch;
use pyo3::prelude::*;
use pyo3_tch::PyTensor;
use tch::Tensor;

use crate::error;

#[pyclass(frozen, module = "islp_mnist")]
pub struct Generator(pub torch::Generator);

#[pymethods]
impl Generator {
    #[new]
    fn new(seed: u64) -> Self {
        Self(torch::Generator::new(seed))
    }

    fn get_state(&self) -> PyTensor {
        PyTensor(Tensor::from_slice(&self.0.get_state()))
    }

    fn set_state(&self, state: PyTensor) -> PyResult<()> {
        self.0.set_state(&Vec::<u8>::try_from(&*state).map_err(error)?).map_err(error)
    }

    /// An int64 tensor, as `torch.randperm(n, generator=...)`.
    fn randperm(&self, n: usize) -> PyTensor {
        PyTensor(Tensor::from_slice(&self.0.randperm(n)))
    }
}
