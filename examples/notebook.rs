//! The notebook as a Rust program, cell by cell beside scripts/notebook.py. `islp-mnist reproduce` runs the same cells:
//!
//!     cargo run --release --example notebook -- data logs

use std::env::args_os;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use islp_mnist::chart::{self, Picture};
use islp_mnist::islp::{SimpleDataModule, SimpleModule};
use islp_mnist::lightning::{CsvLogger, Trainer};
use islp_mnist::notebook::models::{MnistMlr, MnistModel};
use islp_mnist::torch::Generator;
use islp_mnist::torchinfo::summary;
use islp_mnist::torchvision;
use tch::nn::VarStore;
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

fn run(data: &Path, logs: &Path) -> Result<()> {
    let generator = Generator::new(0); // seed_everything(0)

    // mnist_train = MNIST(root='data', transform=ToTensor()) ...
    let mnist = torchvision::load(data, Device::Cpu)?;
    println!("{:?} {:?}", mnist.train_images.size(), mnist.train_labels.size());

    // mnist_dataModule = SimpleDataModule(mnist_train, mnist_test, validation=0.2, num_workers=4, batch_size=256)
    let data_module = SimpleDataModule::new(&mnist, 0.2, 4, 256, &generator)?;

    // for idx, (X_, Y_) in enumerate(mnist_dataModule.train_dataloader()):
    let mut x_ = Tensor::new();
    for (idx, batch) in data_module.train_dataloader().iter()?.take(2).enumerate() {
        let (x, y) = batch?;
        println!("X_{idx}: {:?}\nY_{idx}: {:?}", x.size(), y.size());
        x_ = x;
    }

    // mnist_model = MNISTModel(); mnist_module = SimpleModule.classification(mnist_model, num_classes=10)
    let vs = VarStore::new(Device::Cpu);
    let mnist_model = MnistModel::new(&vs.root(), &generator)?;
    let mut mnist_module = SimpleModule::classification(Box::new(mnist_model), vs, 0.01)?;
    println!("{:?}", mnist_module.forward(&x_, true)?.size());
    println!("{}", summary(&*mnist_module.model, &x_.size())?);

    // mnist_trainer = Trainer(max_epochs=30, logger=CSVLogger('logs', name='MNIST'), callbacks=[ErrorTracker()])
    let mut mnist_trainer = Trainer::new(30, CsvLogger::new(logs, "MNIST")?, &generator);
    mnist_trainer.fit(&mut mnist_module, &data_module)?;

    // mnist_results.plot(x='epoch', y='train_accuracy_epoch', ...)
    let figure = chart::accuracy(&mnist_trainer.logger.metrics_file_path())?;
    std::fs::write(logs.join("accuracy.png"), figure.to_png()?)?;
    println!("{:?}", mnist_trainer.test(&mnist_module, &data_module)?);

    // class MNIST_MLR(nn.Module): ...
    let vs = VarStore::new(Device::Cpu);
    let mlr_model = MnistMlr::new(&vs.root(), &generator)?;
    let mut mlr_module = SimpleModule::classification(Box::new(mlr_model), vs, 0.01)?;
    let mut mlr_trainer = Trainer::new(30, CsvLogger::new(logs, "MNIST_MLR")?, &generator);
    mlr_trainer.fit(&mut mlr_module, &data_module)?;
    println!("{:?}", mlr_trainer.test(&mlr_module, &data_module)?);
    Ok(())
}
