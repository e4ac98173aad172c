//! MT19937 (`ATen/core/MT19937RNGEngine.h`) and its state as libtorch saves it.

use super::error::Error;

const STATE_SIZE: usize = 624;
const SHIFT_SIZE: usize = 397;

/// `sizeof(CPUGeneratorImplState)` in `ATen/CPUGeneratorImpl.cpp`: seed, draws left in the block, a flag for seeded, next
/// draw, the block in 64-bit words, and then the cache of normal draws.
const STATE_BYTES: usize = 5056;
const SEEDED: i32 = 1;

/// A stream of 32-bit numbers.
#[derive(Clone, Debug)]
pub struct Mt19937 {
    initial_seed: u64,
    state: [u32; STATE_SIZE],
    next: usize,
}

impl Mt19937 {
    pub fn new(seed: u64) -> Self {
        let mut state = [seed as u32; STATE_SIZE];
        for i in 1..STATE_SIZE {
            let previous = state[i - 1];
            state[i] = (previous ^ (previous >> 30)).wrapping_mul(1_812_433_253).wrapping_add(i as u32);
        }
        Self { initial_seed: seed, state, next: STATE_SIZE }
    }

    pub fn next_u32(&mut self) -> u32 {
        let mut number = [0];
        self.fill(&mut number);
        number[0]
    }

    pub fn next_u64(&mut self) -> u64 {
        let mut halves = [0; 2];
        self.fill(&mut halves);
        u64::from(halves[0]) << 32 | u64::from(halves[1])
    }

    /// Fills the slice with the next numbers; a block at a time is several times as fast as one by one. Inlined, like what
    /// it calls, so that it is vectorized like its caller.
    #[inline(always)]
    pub fn fill(&mut self, mut numbers: &mut [u32]) {
        while !numbers.is_empty() {
            if self.next == STATE_SIZE {
                self.next_block();
            }
            let (words, _) = self.state[self.next..].split_at(numbers.len().min(STATE_SIZE - self.next));
            let (now, later) = numbers.split_at_mut(words.len());
            for (number, &word) in now.iter_mut().zip(words) {
                *number = temper(word);
            }
            self.next += words.len();
            numbers = later;
        }
    }

    #[inline(always)]
    fn next_block(&mut self) {
        let twist = |u: u32, v: u32| {
            let mixed = (u & 0x8000_0000) | (v & 0x7fff_ffff);
            (mixed >> 1) ^ if v & 1 == 1 { 0x9908_b0df } else { 0 }
        };
        // Three loops instead of one with wrapped indices: the compiler then vectorizes the first two.
        let s = &mut self.state;
        for i in 0..STATE_SIZE - SHIFT_SIZE {
            s[i] = s[i + SHIFT_SIZE] ^ twist(s[i], s[i + 1]);
        }
        for i in STATE_SIZE - SHIFT_SIZE..STATE_SIZE - 1 {
            s[i] = s[i + SHIFT_SIZE - STATE_SIZE] ^ twist(s[i], s[i + 1]);
        }
        s[STATE_SIZE - 1] = s[SHIFT_SIZE - 1] ^ twist(s[STATE_SIZE - 1], s[0]);
        self.next = 0;
    }

    /// `CPUGeneratorImpl::get_state`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let left = STATE_SIZE - self.next + 1;
        let mut bytes = self.initial_seed.to_le_bytes().to_vec();
        bytes.extend((left as i32).to_le_bytes());
        bytes.extend(SEEDED.to_le_bytes());
        bytes.extend((self.next as u64).to_le_bytes());
        bytes.extend(self.state.iter().flat_map(|&word| u64::from(word).to_le_bytes()));
        bytes.resize(STATE_BYTES, 0);
        bytes
    }

    /// `CPUGeneratorImpl::set_state`. The cache of normal draws is ignored, because nothing here draws those.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let refuse = |reason: String| Err(Error::GeneratorState(reason));
        if bytes.len() != STATE_BYTES {
            return refuse(format!("{} bytes instead of {STATE_BYTES}", bytes.len()));
        }
        let (words, _) = bytes.as_chunks();
        let words: Vec<u64> = words.iter().map(|&word| u64::from_le_bytes(word)).collect();
        // Two 32-bit numbers share the second word.
        let (left, seeded) = (words[1] as u32 as usize, (words[1] >> 32) as i32);
        if seeded != SEEDED || !(1..=STATE_SIZE).contains(&left) {
            return refuse("not seeded".into());
        }
        let next = STATE_SIZE + 1 - left;
        // A newly seeded generator has made no block yet, so its next draw is 0 with one left.
        if words[2] != next as u64 && (words[2], left) != (0, 1) {
            return refuse(format!("its place in the stream is {}", words[2]));
        }
        let mut state = [0; STATE_SIZE];
        for (word, &bits) in state.iter_mut().zip(&words[3..]) {
            let Ok(bits) = u32::try_from(bits) else { return refuse("a word of more than 32 bits".into()) };
            *word = bits;
        }
        Ok(Self { initial_seed: words[0], state, next })
    }
}

#[inline(always)]
fn temper(mut y: u32) -> u32 {
    y ^= y >> 11;
    y ^= (y << 7) & 0x9d2c_5680;
    y ^= (y << 15) & 0xefc6_0000;
    y ^ (y >> 18)
}
