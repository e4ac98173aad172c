//! `ISLP.torch.SimpleDataModule` and `torch.utils.data.DataLoader`, with the seeds that PyTorch draws for them.
//!
//! A loader loads nothing in the background: the images are in memory, and a batch is one `index_select`.
//! The number of workers matters all the same, because it decides when PyTorch draws.

use anyhow::{Result, ensure};
use tch::vision::dataset::Dataset;
use tch::{Kind, TchError, Tensor};

use crate::generator::Generator;

/// Some of a data set's images, in an order of their own; `torch.utils.data.Subset`.
#[derive(Debug)]
pub struct Subset {
    images: Tensor,
    labels: Tensor,
    indices: Tensor,
}

impl Subset {
    /// The images `[N, ...]` with these indices, and their labels `[N]`, integers from 0.
    ///
    /// # Errors
    /// Not as many labels as images, labels that are no i64, or an index beyond them.
    pub fn new(images: &Tensor, labels: &Tensor, indices: &[i64]) -> Result<Self> {
        let (size, count) = (images.size(), labels.numel() as i64);
        ensure!(
            labels.size() == [count] && size.first() == Some(&count),
            "images of shape {size:?} with labels of shape {:?}: [N, ...] and [N] are needed",
            labels.size()
        );
        ensure!(labels.kind() == Kind::Int64, "labels of kind {:?}: Int64 is needed", labels.kind());
        let inside = indices.iter().all(|index| (0..count).contains(index));
        ensure!(inside, "an index beyond the {count} images");
        Ok(Self {
            images: images.shallow_clone(),
            labels: labels.shallow_clone(),
            indices: Tensor::f_from_slice(indices)?.f_to_device(images.device())?,
        })
    }

    /// All images.
    ///
    /// # Errors
    /// As [`Subset::new`].
    pub fn whole(images: &Tensor, labels: &Tensor) -> Result<Self> {
        Self::new(images, labels, &(0..labels.numel() as i64).collect::<Vec<_>>())
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.indices.size()[0] as usize
    }

    /// Whether there is no image.
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
    /// The images to train on.
    pub train_dataset: Subset,
    /// The training images held back.
    pub validation_dataset: Subset,
    /// The test images.
    pub test_dataset: Subset,
    batch_size: usize,
    num_workers: usize,
    generator: Generator,
}

impl SimpleDataModule {
    /// Holds the fraction `validation` of the training images back for validation. The split draws from a
    /// generator of its own with seed 0, whatever the run's seed; the loaders draw from `generator`. Batches lie on
    /// the device of the data.
    ///
    /// # Errors
    /// The fraction leaves no image for training or none for validation, or images and labels don't go together.
    pub fn new(
        dataset: &Dataset,
        validation: f64,
        num_workers: usize,
        batch_size: usize,
        generator: &Generator,
    ) -> Result<Self> {
        ensure!(batch_size > 0, "a batch of no images");
        let count = dataset.train_labels.numel();
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
        Ok(Self {
            train_dataset: Subset::new(&dataset.train_images, &dataset.train_labels, train)?,
            validation_dataset: Subset::new(&dataset.train_images, &dataset.train_labels, validation)?,
            test_dataset: Subset::whole(&dataset.test_images, &dataset.test_labels)?,
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
        let persistent_workers = self.num_workers > 0;
        DataLoader {
            shuffle,
            persistent_workers,
            ..DataLoader::new(dataset, self.batch_size, &self.generator)
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

impl<'a> DataLoader<'a> {
    /// A loader that does not shuffle and has no workers, `DataLoader(dataset, batch_size)`. A batch holds one image
    /// at least.
    pub fn new(dataset: &'a Subset, batch_size: usize, generator: &Generator) -> Self {
        let generator = generator.clone();
        let batch_size = batch_size.max(1);
        Self { dataset, batch_size, shuffle: false, persistent_workers: false, started: false, generator }
    }

    /// The number of batches in an epoch; the last may be smaller.
    pub fn len(&self) -> usize {
        self.dataset.len().div_ceil(self.batch_size)
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.dataset.is_empty()
    }

    /// Goes on as after an earlier epoch: workers that persist are there already.
    pub fn resume(&mut self) {
        self.started = true;
    }

    /// One epoch: images `[n, ...]` and labels `[n]`, batch by batch.
    ///
    /// Draws what `iter(loader)` draws: a base seed for the workers, unless they persist from an earlier
    /// epoch (`_BaseDataLoaderIter.__init__`), and, shuffling, a seed for the sampler's own generator
    /// (`RandomSampler.__iter__`).
    ///
    /// # Errors
    /// libtorch's, when memory is short.
    pub fn iter(
        &mut self,
    ) -> Result<impl Iterator<Item = Result<(Tensor, Tensor), TchError>> + use<'_>, TchError> {
        if !(self.persistent_workers && self.started) {
            self.generator.random();
        }
        self.started = true;
        let Subset { images, labels, indices } = self.dataset;
        let indices = if self.shuffle {
            let order = Generator::new(self.generator.random()).randperm(self.dataset.len());
            indices.f_index_select(0, &Tensor::f_from_slice(&order)?.f_to_device(indices.device())?)?
        } else {
            indices.shallow_clone()
        };
        let (len, batch_size) = (self.dataset.len(), self.batch_size);
        Ok((0..len).step_by(batch_size).map(move |start| {
            let batch = indices.f_narrow(0, start as i64, batch_size.min(len - start) as i64)?;
            Ok((images.f_index_select(0, &batch)?, labels.f_index_select(0, &batch)?))
        }))
    }
}
