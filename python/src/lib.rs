//! The compiled part of the Python package `islp_mnist`: the Rust library on torch's own libtorch, whose tensors go both
//! ways without copies. `islp_mnist/_compiled.pyi` describes it as Python sees it.

mod data;
mod generator;
mod module;
mod trainer;

use std::sync::{Mutex, MutexGuard, PoisonError};

use islp_mnist::lightning;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

#[pymodule]
fn _compiled(module: &Bound<PyModule>) -> PyResult<()> {
    module.add_class::<generator::Generator>()?;
    module.add_class::<data::Mnist>()?;
    module.add_class::<data::SimpleDataModule>()?;
    module.add_class::<data::DataLoader>()?;
    module.add_class::<data::Batches>()?;
    module.add_class::<module::SimpleModule>()?;
    module.add_class::<trainer::Trainer>()
}

/// An error of the library, as Python's ValueError.
fn error(error: impl std::fmt::Display) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// An error of a training, as Python's RuntimeError.
fn training_error(error: lightning::Error) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

/// Python's threads share an object. After a panic it is as valid as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
