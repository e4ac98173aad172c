//! A trainer whose fits are an epoch each, as a program drives it that does something between the epochs.

use std::sync::{Arc, Mutex};

use islp_mnist::islp::{SimpleDataModule, SimpleModule};
use islp_mnist::lightning::{Callback, CsvLogger, Trainer};
use islp_mnist::notebook::models::Model;
use islp_mnist::torch::Generator;
use islp_mnist::torch::data::Subset;
use islp_mnist::torchvision;
use tch::Device;
use tch::nn::VarStore;

use crate::common::fashion_mnist;

const EPOCHS: usize = 3;

/// The steps that it was called after.
#[derive(Clone, Debug, Default)]
struct Steps(Arc<Mutex<Vec<usize>>>);

impl Callback for Steps {
    fn on_train_batch_end(&mut self, global_step: usize) {
        self.0.lock().unwrap().push(global_step);
    }
}

fn parts(workers: usize) -> (Generator, SimpleDataModule, SimpleModule, Trainer) {
    tch::set_num_threads(1);
    let generator = Generator::new(5);
    let mnist = torchvision::load(fashion_mnist(), Device::Cpu).unwrap();
    let data = SimpleDataModule::new(&mnist, 0.2, workers, 7, &generator).unwrap();
    let vs = VarStore::new(Device::Cpu);
    let model = Model::Mlp.build(&vs.root(), &generator).unwrap();
    let module = SimpleModule::classification(model, vs, 0.001).unwrap();
    let mut trainer = Trainer::new(EPOCHS, CsvLogger::in_memory(), &generator);
    trainer.log_every_n_steps = 5;
    (generator, data, module, trainer)
}

/// The bits of what a fit leaves.
fn left(module: &SimpleModule, trainer: &Trainer, generator: &Generator) -> (Vec<u8>, Vec<u32>, Vec<u8>) {
    let weights = module.state_dict().into_values().flat_map(|tensor| {
        Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap().into_iter().map(f32::to_bits)
    });
    (trainer.logger.to_csv(), weights.collect(), generator.get_state())
}

#[test]
fn an_epoch_after_the_other_leaves_what_one_fit_leaves_and_the_callback_sees_every_step() {
    for workers in [0, 2] {
        let (generator, data, mut module, mut trainer) = parts(workers);
        trainer.fit(&mut module, &data).unwrap();
        let whole = left(&module, &trainer, &generator);

        let (generator, data, mut module, mut trainer) = parts(workers);
        let steps = Steps::default();
        trainer.callback = Some(Box::new(steps.clone()));
        for epoch in 1..=EPOCHS {
            trainer.max_epochs = epoch;
            trainer.fit(&mut module, &data).unwrap();
        }
        assert!(left(&module, &trainer, &generator) == whole, "{workers} workers");
        // 80 images in batches of 7.
        assert_eq!(*steps.0.lock().unwrap(), (1..=12 * EPOCHS).collect::<Vec<_>>());
    }
}

#[test]
fn an_epoch_whose_order_is_given_draws_no_seed_for_it() {
    let order = |data: &SimpleDataModule| data.train_dataloader().draw().unwrap();
    let (generator, data, mut module, mut trainer) = parts(2);
    trainer.max_epochs = 1;
    trainer.fit(&mut module, &data).unwrap();
    let whole = left(&module, &trainer, &generator);

    let (generator, data, mut module, mut trainer) = parts(2);
    trainer.max_epochs = 1;
    // As a program does that has drawn the loader's seeds itself.
    let seed = order(&data);
    trainer.start_epoch(seed);
    trainer.fit(&mut module, &data).unwrap();
    assert!(left(&module, &trainer, &generator) == whole);
}

#[test]
fn callback_metrics_have_the_last_value_of_every_metric_also_of_a_step_that_is_not_logged() {
    let (_, data, mut module, mut trainer) = parts(0);
    trainer.log_every_n_steps = 0;
    trainer.fit(&mut module, &data).unwrap();
    let names: Vec<&str> = trainer.callback_metrics.keys().copied().collect();
    let expected =
        ["train_accuracy_epoch", "train_accuracy_step", "train_loss", "valid_accuracy", "valid_loss"];
    assert_eq!(names, expected);
    assert!(trainer.logger.rows().iter().all(|row| !row.contains_key("train_accuracy_step")));
    assert_eq!(trainer.logger.rows().len(), 2 * EPOCHS);
}

#[test]
fn a_module_of_data_that_are_split_already_loads_these_data() {
    let mnist = torchvision::load(fashion_mnist(), Device::Cpu).unwrap();
    let part = |indices: &[i64]| Subset::new(&mnist.train_images, &mnist.train_labels, indices).unwrap();
    let of = |batch_size| {
        SimpleDataModule::of(part(&[3, 1, 2]), part(&[9]), part(&[4, 5]), 0, batch_size, &Generator::new(0))
    };
    let data = of(2).unwrap();
    assert_eq!(
        [data.train_dataloader().len(), data.val_dataloader().len(), data.test_dataloader().len()],
        [2, 1, 1]
    );
    let (images, labels) = data.val_dataloader().iter().unwrap().next().unwrap().unwrap();
    assert!(images == mnist.train_images.narrow(0, 9, 1) && labels == mnist.train_labels.narrow(0, 9, 1));
    assert_eq!(of(0).unwrap_err().to_string(), "the batch size is 0");
}
