//! A model and data of your own: is a point inside a circle?
//!
//! `cargo run --release --example circle`

use std::process::ExitCode;

use islp_mnist::islp::{SimpleDataModule, SimpleModule};
use islp_mnist::lightning::{CsvLogger, Trainer};
use islp_mnist::torch::nn::{ReLU, dropout, linear, sequential};
use islp_mnist::torch::{Generator, state_dict};
use tch::nn::VarStore;
use tch::vision::dataset::Dataset;
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
    // Points in the square from -1 to 1, in two classes: inside the circle or outside.
    let generator = Generator::new(0);
    let points = Tensor::f_from_slice(&generator.uniform(2000, -1.0, 1.0))?.f_view([1000, 2])?;
    let squares = points.f_square()?.f_sum_dim_intlist(1, false, Kind::Float)?;
    let classes = squares.f_lt(0.5)?.f_to_kind(Kind::Int64)?;
    let dataset = Dataset {
        train_images: points.f_narrow(0, 0, 800)?,
        train_labels: classes.f_narrow(0, 0, 800)?,
        test_images: points.f_narrow(0, 800, 200)?,
        test_labels: classes.f_narrow(0, 800, 200)?,
        labels: 2,
    };
    let data = SimpleDataModule::new(&dataset, 0.25, 0, 50, &generator)?;

    // The parameters get the names that nn.Sequential gives them in Python: 0.weight, 0.bias, 3.weight, 3.bias.
    let vs = VarStore::new(Device::Cpu);
    let model = sequential()
        .add(linear(vs.root() / "0", 2, 32, &generator)?)
        .add(ReLU)
        .add(dropout(0.1, &generator)?)
        .add(linear(vs.root() / "3", 32, 2, &generator)?);
    let mut module = SimpleModule::classification(Box::new(model), vs, 0.01)?;

    let folder = tempfile::tempdir()?;
    let mut trainer = Trainer::new(20, CsvLogger::new(folder.path(), "circle")?, &generator);
    trainer.fit(&mut module, &data)?;
    let metrics = trainer.test(&module, &data)?;
    println!("test loss {:.4}, test accuracy {:.3}", metrics.loss, metrics.accuracy);

    let weights = folder.path().join("weights.safetensors");
    state_dict::save(&module.state_dict(), &weights)?; // safetensors.torch.save_file
    let tensors = state_dict::load(&weights)?; // safetensors.torch.load_file
    module.load_state_dict(&tensors)?;
    Ok(())
}
