//! The MNIST notebook of *An Introduction to Statistical Learning with Python* (ISLP) in Rust: the same seed
//! gives the same bits as Python.
//!
//! | notebook | here |
//! |---|---|
//! | `MNIST(root='data', transform=ToTensor())` | [`mnist::load`] |
//! | `SimpleDataModule(mnist_train, mnist_test, ...)` | [`data::SimpleDataModule`] |
//! | `mnist_dataModule.train_dataloader()` | [`data::DataLoader`] |
//! | `class MNISTModel(nn.Module)` | [`model::MnistModel`] |
//! | `class MNIST_MLR(nn.Module)` | [`model::MnistMlr`] |
//! | `summary(mnist_model, ...)` | [`summary::summary`] |
//! | `SimpleModule.classification(mnist_model, num_classes=10)` | [`module::SimpleModule`] |
//! | its optimizer, `RMSprop(model.parameters())` | [`rmsprop::RmsProp`] |
//! | `CSVLogger('logs', name='MNIST')` | [`csv_logger::CsvLogger`] |
//! | `Trainer(deterministic=True, max_epochs=30, ...)` | [`trainer::Trainer`] |
//! | `callbacks=[ErrorTracker()]` | [`error_tracker::ErrorTracker`] |
//! | `mnist_results.plot(...)` | [`figure`] |
//! | `mnist_trainer.test(...)` | [`trainer::Trainer::test`], [`test_table`] |
//! | `seed_everything(0)`, `torch.Generator` | [`generator::Generator`] |
//!
//! Data goes one way: `mnist → data → module → trainer → csv_logger → metrics.csv → figure`.

pub mod banner;
pub mod checkpoint;
pub mod commands;
pub mod compare;
pub mod csv_logger;
pub mod data;
pub mod error_tracker;
pub mod figure;
pub mod file;
pub mod generator;
pub mod mnist;
pub mod model;
pub mod module;
pub mod progress;
pub mod python;
pub mod rmsprop;
pub mod summary;
pub mod test_table;
pub mod trainer;
