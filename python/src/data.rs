//! `torchvision.datasets.MNIST`, `ISLP.torch.SimpleDataModule` and its loaders.

use std::path::PathBuf;
use std::sync::Mutex;

use islp_mnist::torch::data::Subset;
use islp_mnist::{islp, torch, torchvision};
use pyo3::prelude::*;
use pyo3_tch::PyTensor;
use tch::vision::dataset::Dataset;
use tch::{Device, Tensor};

use crate::generator::Generator;
use crate::{error, lock};

#[pyclass(frozen, name = "MNIST", module = "islp_mnist")]
pub struct Mnist(Mutex<Dataset>);

#[pymethods]
impl Mnist {
    #[new]
    fn new(root: PathBuf) -> PyResult<Self> {
        Ok(Self(Mutex::new(torchvision::load(&root, Device::Cpu).map_err(error)?)))
    }

    #[getter]
    fn train_images(&self) -> PyTensor {
        PyTensor(lock(&self.0).train_images.shallow_clone())
    }

    #[getter]
    fn train_labels(&self) -> PyTensor {
        PyTensor(lock(&self.0).train_labels.shallow_clone())
    }

    #[getter]
    fn test_images(&self) -> PyTensor {
        PyTensor(lock(&self.0).test_images.shallow_clone())
    }

    #[getter]
    fn test_labels(&self) -> PyTensor {
        PyTensor(lock(&self.0).test_labels.shallow_clone())
    }
}

/// Inputs `[N, ...]`, labels `[N]` and the indices of those that belong to the set.
type Selection = (PyTensor, PyTensor, PyTensor);

fn subset((inputs, labels, indices): &Selection) -> PyResult<Subset> {
    let indices = Vec::<i64>::try_from(&**indices).map_err(error)?;
    Subset::new(inputs, labels, &indices).map_err(error)
}

#[pyclass(frozen, module = "islp_mnist")]
pub struct SimpleDataModule(pub Mutex<islp::SimpleDataModule>);

#[pymethods]
impl SimpleDataModule {
    #[new]
    #[pyo3(signature = (mnist, *, validation, num_workers, batch_size, generator))]
    fn new(
        mnist: &Mnist,
        validation: f64,
        num_workers: usize,
        batch_size: usize,
        generator: &Generator,
    ) -> PyResult<Self> {
        let dataset = lock(&mnist.0);
        let data = islp::SimpleDataModule::new(&dataset, validation, num_workers, batch_size, &generator.0);
        Ok(Self(Mutex::new(data.map_err(error)?)))
    }

    /// A module of data that are split already; its test set is the validation set.
    #[staticmethod]
    #[pyo3(signature = (train, validation, *, num_workers, batch_size, generator))]
    fn of(
        train: Selection,
        validation: Selection,
        num_workers: usize,
        batch_size: usize,
        generator: &Generator,
    ) -> PyResult<Self> {
        let [train, test, validation] = [&train, &validation, &validation].map(subset);
        let data =
            islp::SimpleDataModule::of(train?, validation?, test?, num_workers, batch_size, &generator.0);
        Ok(Self(Mutex::new(data.map_err(error)?)))
    }

    fn train_dataloader(&self) -> DataLoader {
        DataLoader(Mutex::new(lock(&self.0).train_dataloader()))
    }

    fn val_dataloader(&self) -> DataLoader {
        DataLoader(Mutex::new(lock(&self.0).val_dataloader()))
    }

    fn test_dataloader(&self) -> DataLoader {
        DataLoader(Mutex::new(lock(&self.0).test_dataloader()))
    }
}

#[pyclass(frozen, module = "islp_mnist")]
pub struct DataLoader(Mutex<torch::data::DataLoader>);

#[pymethods]
impl DataLoader {
    /// An epoch.
    fn __iter__(&self) -> PyResult<Batches> {
        Ok(Batches(Mutex::new(Box::new(lock(&self.0).iter().map_err(error)?))))
    }

    fn __len__(&self) -> usize {
        lock(&self.0).len()
    }
}

type Batch = Result<(Tensor, Tensor), torch::Error>;

#[pyclass(frozen, module = "islp_mnist")]
pub struct Batches(Mutex<Box<dyn Iterator<Item = Batch> + Send>>);

#[pymethods]
impl Batches {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__(&self) -> PyResult<Option<(PyTensor, PyTensor)>> {
        let batch = lock(&self.0).next().transpose().map_err(error)?;
        Ok(batch.map(|(inputs, labels)| (PyTensor(inputs), PyTensor(labels))))
    }
}
