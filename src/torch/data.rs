//! `torch.utils.data`: `random_split`, `Subset` and `DataLoader`, with the seeds that PyTorch draws for them.
//!
//! A loader loads nothing in the background: the images are in memory, and a batch is one `index_select`.
//! Persistent workers matter all the same, because they decide when PyTorch draws.

use tch::{Kind, Tensor};

use super::{Error, Generator};

/// A selection of a data set's images in its own order; `torch.utils.data.Subset`.
///
/// ```
/// use islp_mnist::torch::data::Subset;
/// use tch::Tensor;
///
/// let (images, labels) = (Tensor::from_slice(&[0f32, 0.1, 0.2]), Tensor::from_slice(&[0i64, 1, 0]));
/// let subset = Subset::new(&images, &labels, &[2, 0])?;
/// assert_eq!(subset.len(), 2);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
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
    /// Fails if there are not as many labels as images, the labels are not i64, or an index is out of range.
    pub fn new(images: &Tensor, labels: &Tensor, indices: &[i64]) -> Result<Self, Error> {
        let (size, count) = (images.size(), labels.numel() as i64);
        if labels.size() != [count] || size.first() != Some(&count) {
            return Err(Error::Unpaired { images: size, labels: labels.size() });
        }
        if labels.kind() != Kind::Int64 {
            return Err(Error::LabelKind(labels.kind()));
        }
        if let Some(&index) = indices.iter().find(|index| !(0..count).contains(*index)) {
            return Err(Error::Index { index, count });
        }
        Ok(Self {
            images: images.shallow_clone(),
            labels: labels.shallow_clone(),
            indices: Tensor::f_from_slice(indices)?.f_to_device(images.device())?,
        })
    }

    /// All images.
    ///
    /// # Errors
    /// Fails like [`Subset::new`].
    pub fn whole(images: &Tensor, labels: &Tensor) -> Result<Self, Error> {
        Self::new(images, labels, &(0..labels.numel() as i64).collect::<Vec<_>>())
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.indices.size()[0] as usize
    }

    /// True if there are no images.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The images' indices in the data set, `[len]`.
    pub fn indices(&self) -> &Tensor {
        &self.indices
    }

    /// The same images, not copied.
    fn shallow_clone(&self) -> Self {
        let [images, labels, indices] =
            [&self.images, &self.labels, &self.indices].map(Tensor::shallow_clone);
        Self { images, labels, indices }
    }
}

/// `torch.utils.data.random_split(dataset, lengths, generator)`: two parts of these lengths, which add up to all images.
///
/// # Errors
/// Fails like [`Subset::new`], or if the lengths don't add up to the number of images.
pub fn random_split(
    images: &Tensor,
    labels: &Tensor,
    lengths: [usize; 2],
    generator: &Generator,
) -> Result<[Subset; 2], Error> {
    let count = labels.numel();
    if lengths[0].checked_add(lengths[1]) != Some(count) {
        return Err(Error::Lengths { lengths, count });
    }
    let permutation = generator.randperm(count);
    let (first, second) = permutation.split_at(lengths[0]);
    Ok([Subset::new(images, labels, first)?, Subset::new(images, labels, second)?])
}

/// Yields the batches of a data set, epoch after epoch.
///
/// ```
/// use islp_mnist::torch::{Generator, data::{DataLoader, Subset}};
/// use tch::Tensor;
///
/// let (images, labels) = (Tensor::from_slice(&[0f32, 0.1, 0.2]), Tensor::from_slice(&[0i64, 1, 0]));
/// let dataset = Subset::whole(&images, &labels)?;
/// let mut loader = DataLoader::new(&dataset, 2, &Generator::new(0));
/// loader.shuffle = true;
/// let sizes = loader.iter()?.map(|batch| Ok(batch?.1.size()[0]));
/// assert_eq!(sizes.collect::<Result<Vec<_>, islp_mnist::torch::Error>>()?, [2, 1]);
/// # Ok::<(), islp_mnist::torch::Error>(())
/// ```
#[derive(Debug)]
pub struct DataLoader {
    /// Shuffles the images anew in each epoch.
    pub shuffle: bool,
    /// Python's workers persist from one epoch to the next. There are none here, but it decides when PyTorch draws
    /// seeds for them.
    pub persistent_workers: bool,
    dataset: Subset,
    batch_size: usize,
    started: bool,
    generator: Generator,
}

impl DataLoader {
    /// A loader that does not shuffle and has no workers, `DataLoader(dataset, batch_size)`. A batch has at
    /// least one image.
    pub fn new(dataset: &Subset, batch_size: usize, generator: &Generator) -> Self {
        let (dataset, generator) = (dataset.shallow_clone(), generator.clone());
        let batch_size = batch_size.max(1);
        Self { shuffle: false, persistent_workers: false, dataset, batch_size, started: false, generator }
    }

    /// The number of batches in an epoch; the last may be smaller.
    pub fn len(&self) -> usize {
        self.dataset.len().div_ceil(self.batch_size)
    }

    /// True if there are no images.
    pub fn is_empty(&self) -> bool {
        self.dataset.is_empty()
    }

    /// Continues as after an earlier epoch: persistent workers have been started.
    pub fn resume(&mut self) {
        self.started = true;
    }

    /// Iterates over the next epoch's batches, [`batches`](Self::batches) with the seed of [`draw`](Self::draw).
    ///
    /// # Errors
    /// Fails if memory is short.
    pub fn iter(&mut self) -> Result<impl Iterator<Item = Result<(Tensor, Tensor), Error>> + use<>, Error> {
        let sampler_seed = self.draw();
        self.batches(sampler_seed)
    }

    /// Draws what `iter(loader)` draws: a base seed for the workers, unless they persist from an earlier
    /// epoch (`_BaseDataLoaderIter.__init__`), and, shuffling, a seed for the sampler's own generator
    /// (`RandomSampler.__iter__`), which it returns.
    pub fn draw(&mut self) -> Option<u64> {
        if !(self.persistent_workers && self.started) {
            self.generator.random();
        }
        self.started = true;
        self.shuffle.then(|| self.generator.random())
    }

    /// Iterates over the batches of an epoch: images `[n, ...]` and labels `[n]`, in the order of this seed of the sampler,
    /// or, without one, in the data set's. Draws nothing.
    ///
    /// # Errors
    /// Fails if memory is short.
    pub fn batches(
        &self,
        sampler_seed: Option<u64>,
    ) -> Result<impl Iterator<Item = Result<(Tensor, Tensor), Error>> + use<>, Error> {
        let Subset { images, labels, indices } = self.dataset.shallow_clone();
        let indices = match sampler_seed {
            Some(seed) => {
                let order = Generator::new(seed).randperm(self.dataset.len());
                indices.f_index_select(0, &Tensor::f_from_slice(&order)?.f_to_device(indices.device())?)?
            }
            None => indices,
        };
        let (len, batch_size) = (self.dataset.len(), self.batch_size);
        Ok((0..len).step_by(batch_size).map(move |start| {
            let batch = indices.f_narrow(0, start as i64, batch_size.min(len - start) as i64)?;
            Ok((images.f_index_select(0, &batch)?, labels.f_index_select(0, &batch)?))
        }))
    }
}
