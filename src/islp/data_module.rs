//! `ISLP.torch.SimpleDataModule`.

use tch::vision::dataset::Dataset;

use super::Error;
use crate::torch::Generator;
use crate::torch::data::{DataLoader, Subset, random_split};

/// Training, validation and test images, and loaders over them.
///
/// ```
/// use islp_mnist::{islp::SimpleDataModule, torch::Generator, torchvision};
/// use tch::Device;
///
/// let mnist = torchvision::load("tests/data/fashion-mnist", Device::Cpu)?;
/// let data = SimpleDataModule::new(&mnist, 0.2, 4, 16, &Generator::new(0))?;
/// assert_eq!((data.train_dataset.len(), data.validation_dataset.len()), (80, 20));
/// assert_eq!(data.train_dataloader().len(), 5);
/// # Ok::<(), anyhow::Error>(())
/// ```
#[derive(Debug)]
pub struct SimpleDataModule {
    /// The images to train on.
    pub train_dataset: Subset,
    /// The training images held out for validation.
    pub validation_dataset: Subset,
    /// The test images.
    pub test_dataset: Subset,
    batch_size: usize,
    num_workers: usize,
    generator: Generator,
}

impl SimpleDataModule {
    /// Holds out the fraction `validation` of the training images. The split draws from its own generator with seed 0,
    /// whatever the run's seed, unless it is [varied](Generator::vary); the loaders draw from `generator`. Batches are on
    /// the device of the data.
    ///
    /// # Errors
    /// Fails if `batch_size` is 0, the fraction leaves no image for training or validation, or there are not as many
    /// labels as images.
    pub fn new(
        dataset: &Dataset,
        validation: f64,
        num_workers: usize,
        batch_size: usize,
        generator: &Generator,
    ) -> Result<Self, Error> {
        let count = dataset.train_labels.numel();
        let validation_count = (validation * count as f64) as usize;
        if validation_count == 0 {
            return Err(Error::NoValidation { validation, count });
        }
        let Some(train_count) = count.checked_sub(validation_count).filter(|&count| count > 0) else {
            return Err(Error::NoTraining { validation, count });
        };
        let (images, labels) = (&dataset.train_images, &dataset.train_labels);
        let lengths = [train_count, validation_count];
        let [train_dataset, validation_dataset] =
            random_split(images, labels, lengths, &generator.of_split())?;
        let test_dataset = Subset::whole(&dataset.test_images, &dataset.test_labels)?;
        Self::of(train_dataset, validation_dataset, test_dataset, num_workers, batch_size, generator)
    }

    /// `SimpleDataModule(train_dataset, test_dataset, validation=validation_dataset, ...)`: these images, without a split.
    ///
    /// # Errors
    /// Fails if `batch_size` is 0.
    pub fn of(
        train_dataset: Subset,
        validation_dataset: Subset,
        test_dataset: Subset,
        num_workers: usize,
        batch_size: usize,
        generator: &Generator,
    ) -> Result<Self, Error> {
        if batch_size == 0 {
            return Err(Error::BatchSize);
        }
        let generator = generator.clone();
        Ok(Self { train_dataset, validation_dataset, test_dataset, batch_size, num_workers, generator })
    }

    /// A new loader over the training images, shuffled.
    pub fn train_dataloader(&self) -> DataLoader {
        self.loader(&self.train_dataset, true)
    }

    /// A new loader over the validation images.
    pub fn val_dataloader(&self) -> DataLoader {
        self.loader(&self.validation_dataset, false)
    }

    /// A new loader over the test images.
    pub fn test_dataloader(&self) -> DataLoader {
        self.loader(&self.test_dataset, false)
    }

    fn loader(&self, dataset: &Subset, shuffle: bool) -> DataLoader {
        let mut loader = DataLoader::new(dataset, self.batch_size, &self.generator);
        loader.shuffle = shuffle;
        loader.persistent_workers = self.num_workers > 0;
        loader
    }
}
