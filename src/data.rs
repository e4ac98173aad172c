//! `ISLP.torch.SimpleDataModule` and `torch.utils.data.DataLoader`, with the seeds that PyTorch draws for them.
//!
//! A loader loads nothing in the background: the images are in memory, and a batch is one `index_select`.
//! The number of workers matters all the same, because it decides when PyTorch draws.

use anyhow::{Result, ensure};
use tch::Tensor;
use tch::vision::dataset::Dataset;

use crate::generator::Generator;

/// Some of a data set's images, in an order of their own; `torch.utils.data.Subset`.
#[derive(Debug)]
pub struct Subset {
    images: Tensor,
    labels: Tensor,
    indices: Tensor,
}

impl Subset {
    fn new(images: &Tensor, labels: &Tensor, indices: &[i64]) -> Self {
        Self {
            images: images.shallow_clone(),
            labels: labels.shallow_clone(),
            indices: Tensor::from_slice(indices),
        }
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.indices.size()[0] as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which images of the data set these are, `[len]`.
    pub fn indices(&self) -> &Tensor {
        &self.indices
    }
}

/// Training, validation and test data, and how they are loaded.
#[derive(Debug)]
pub struct SimpleDataModule {
    pub train_dataset: Subset,
    pub validation_dataset: Subset,
    pub test_dataset: Subset,
    batch_size: usize,
    num_workers: usize,
    generator: Generator,
}

impl SimpleDataModule {
    /// Holds the fraction `validation` of the training images back for validation. The split draws from a
    /// generator of its own with seed 0, whatever the run's seed; the loaders draw from `generator`.
    ///
    /// An error if the fraction leaves no image for training or none for validation.
    pub fn new(
        mnist: &Dataset,
        validation: f64,
        num_workers: usize,
        batch_size: usize,
        generator: &Generator,
    ) -> Result<Self> {
        let count = mnist.train_labels.size()[0] as usize;
        let validation_count = (validation * count as f64) as usize;
        ensure!(
            validation_count > 0,
            "leaves none of the {count} training images for validation; take a larger one"
        );
        ensure!(
            validation_count < count,
            "leaves none of the {count} images for training; take a smaller one"
        );

        let permutation = Generator::new(0).randperm(count);
        let (train, validation) = permutation.split_at(count - validation_count);
        let test: Vec<i64> = (0..mnist.test_labels.size()[0]).collect();
        Ok(Self {
            train_dataset: Subset::new(&mnist.train_images, &mnist.train_labels, train),
            validation_dataset: Subset::new(&mnist.train_images, &mnist.train_labels, validation),
            test_dataset: Subset::new(&mnist.test_images, &mnist.test_labels, &test),
            batch_size,
            num_workers,
            generator: generator.clone(),
        })
    }

    /// A new loader over the training images, shuffled.
    pub fn train_dataloader(&self) -> DataLoader<'_> {
        self.loader(&self.train_dataset, true)
    }

    /// A new loader over the validation images.
    pub fn val_dataloader(&self) -> DataLoader<'_> {
        self.loader(&self.validation_dataset, false)
    }

    /// A new loader over the test images.
    pub fn test_dataloader(&self) -> DataLoader<'_> {
        self.loader(&self.test_dataset, false)
    }

    fn loader<'a>(&self, dataset: &'a Subset, shuffle: bool) -> DataLoader<'a> {
        DataLoader {
            dataset,
            batch_size: self.batch_size,
            shuffle,
            persistent_workers: self.num_workers > 0,
            started: false,
            generator: self.generator.clone(),
        }
    }
}

/// Yields the batches of a data set, epoch after epoch.
#[derive(Debug)]
pub struct DataLoader<'a> {
    dataset: &'a Subset,
    batch_size: usize,
    shuffle: bool,
    persistent_workers: bool,
    started: bool,
    generator: Generator,
}

impl DataLoader<'_> {
    /// The number of batches in an epoch; the last may be smaller.
    pub fn len(&self) -> usize {
        self.dataset.len().div_ceil(self.batch_size)
    }

    pub fn is_empty(&self) -> bool {
        self.dataset.is_empty()
    }

    /// One epoch: images `[n, 1, 28, 28]` and labels `[n]`, batch by batch.
    ///
    /// Draws what `iter(loader)` draws: a base seed for the workers, unless they persist from an earlier
    /// epoch (`_BaseDataLoaderIter.__init__`), and, shuffling, a seed for the sampler's own generator
    /// (`RandomSampler.__iter__`).
    pub fn iter(&mut self) -> impl Iterator<Item = (Tensor, Tensor)> + use<'_> {
        if !(self.persistent_workers && self.started) {
            self.generator.random();
        }
        self.started = true;
        let indices = if self.shuffle {
            let order = Generator::new(self.generator.random()).randperm(self.dataset.len());
            self.dataset.indices.index_select(0, &Tensor::from_slice(&order))
        } else {
            self.dataset.indices.shallow_clone()
        };
        let (dataset, len, batch_size) = (self.dataset, self.dataset.len(), self.batch_size);
        (0..len).step_by(batch_size).map(move |start| {
            let batch = indices.narrow(0, start as i64, batch_size.min(len - start) as i64);
            (dataset.images.index_select(0, &batch), dataset.labels.index_select(0, &batch))
        })
    }
}
