//! The cells of notebooks/mnist_rust.ipynb as a program: the notebook in Rust beside scripts/notebook.py. `islp-mnist
//! reproduce` runs the same cells.
//!
//!     cargo run --release --example notebook -- data logs

use std::env::args_os;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use islp_mnist::chart::{self, Picture};
use islp_mnist::islp::{SimpleDataModule, SimpleModule};
use islp_mnist::jupyter::{Shape, seed_everything};
use islp_mnist::lightning::{CsvLogger, Trainer};
use islp_mnist::notebook::weights;
use islp_mnist::report::{self, TestImages};
use islp_mnist::torch::nn::{Container, Flatten, ReLU, container, dropout, linear, sequential};
use islp_mnist::torch::{Error, Generator};
use islp_mnist::torchinfo::summary;
use islp_mnist::torchvision;
use tch::nn::{ModuleT, Path, VarStore};
use tch::{Device, Tensor};

fn main() -> ExitCode {
    let folders: Vec<PathBuf> = args_os().skip(1).map(PathBuf::from).collect();
    let [data, logs] = folders.as_slice() else {
        eprintln!(
            "error: give two folders: the one that contains MNIST/raw/, such as data after scripts/reproduce.sh, and one for the logs"
        );
        return ExitCode::from(2);
    };
    match run(data, logs) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(data: &std::path::Path, logs: &std::path::Path) -> Result<()> {
    let generator = seed_everything(0);

    // mnist_train = MNIST(root='data', transform=ToTensor()) ...
    let mnist = torchvision::load(data, Device::Cpu)?;
    println!("{} {}", mnist.train_labels.int64_value(&[0]), mnist.train_images.get(0).shape());
    println!("{}", mnist.train_labels);

    // mnist_dataModule = SimpleDataModule(mnist_train, mnist_test, validation=0.2, num_workers=4, batch_size=256)
    let mnist_data_module = SimpleDataModule::new(&mnist, 0.2, 4, 256, &generator)?;

    // for idx, (X_, Y_) in enumerate(mnist_dataModule.train_dataloader()):
    let mut x_ = Tensor::new();
    for (idx, batch) in mnist_data_module.train_dataloader().iter()?.take(2).enumerate() {
        let (x, y) = batch?;
        println!("X_{idx}:  {}", x.shape());
        println!("Y_{idx}:  {}", y.shape());
        x_ = x;
    }

    // class MNISTModel(nn.Module): ...
    fn mnist_model(vs: &Path, generator: &Generator) -> Result<Container, Error> {
        let layer1 = sequential()
            .add(Flatten)
            .add(linear(vs / "layer1" / "1", 28 * 28, 256, generator)?)
            .add(ReLU)
            .add(dropout(0.4, generator)?);
        let layer2 = sequential()
            .add(linear(vs / "layer2" / "0", 256, 128, generator)?)
            .add(ReLU)
            .add(dropout(0.3, generator)?);
        let forward =
            sequential().add(layer1).add(layer2).add(linear(vs / "_forward" / "2", 128, 10, generator)?);
        Ok(container("MNISTModel", forward))
    }

    // mnist_model = MNISTModel()
    let mnist_vs = VarStore::new(Device::Cpu);
    let mnist_model = mnist_model(&mnist_vs.root(), &generator)?;
    println!("{}", mnist_model.forward_t(&x_, true).shape());
    println!("{}", summary(&mnist_model, &x_.size())?);

    // mnist_module = SimpleModule.classification(mnist_model, num_classes=10)
    let mut mnist_module = SimpleModule::classification(Box::new(mnist_model), mnist_vs, 0.01)?;

    // mnist_trainer = Trainer(max_epochs=30, logger=CSVLogger('logs', name='MNIST'), callbacks=[ErrorTracker()])
    let mnist_logger = CsvLogger::new(logs, "MNIST")?;
    let mut mnist_trainer = Trainer::new(30, mnist_logger, &generator).in_notebook();
    mnist_trainer.fit(&mut mnist_module, &mnist_data_module)?;

    // mnist_results.plot(x='epoch', y='train_accuracy_epoch', ...)
    let figure = chart::accuracy(mnist_trainer.logger.metrics_file_path())?;
    std::fs::write(logs.join("accuracy.png"), figure.to_png()?)?;
    println!("{:?}", mnist_trainer.test(&mnist_module, &mnist_data_module)?);

    // class MNIST_MLR(nn.Module): ...
    fn mlr_model(vs: &Path, generator: &Generator) -> Result<Container, Error> {
        let linear = sequential().add(Flatten).add(linear(vs / "linear" / "1", 784, 10, generator)?);
        Ok(container("MNIST_MLR", linear))
    }

    let mlr_vs = VarStore::new(Device::Cpu);
    let mlr_model = mlr_model(&mlr_vs.root(), &generator)?;
    let mut mlr_module = SimpleModule::classification(Box::new(mlr_model), mlr_vs, 0.01)?;
    let mlr_logger = CsvLogger::new(logs, "MNIST_MLR")?;
    let mut mlr_trainer = Trainer::new(30, mlr_logger, &generator).in_notebook();
    mlr_trainer.fit(&mut mlr_module, &mnist_data_module)?;
    println!("{:?}", mlr_trainer.test(&mlr_module, &mnist_data_module)?);

    // Not in the book: the run's page.
    weights::save(&mnist_module, &mnist_trainer.logger.log_dir().join(weights::FILE))?;
    let page = report::page(&[mnist_trainer.logger.log_dir()], &TestImages::new(data, Device::Cpu))?;
    std::fs::write(logs.join("report.html"), page)?;
    Ok(())
}
