// Which values dropout on a GPU keeps, drawn by NVIDIA's own curand_philox4x32_x.h, compiled for the host:
//
//   dropout_mask SEED OFFSET N KEEP     prints a 1 for each value that is kept, and a 0 for each that is dropped
//
// N is a multiple of 4, and no more than what the GPU draws at a time. The rest is curand_init and curand_uniform4 of
// curand_kernel.h, which needs NVIDIA's compiler, as do the types.

#include <cstdio>
#include <cstdlib>
#include <initializer_list>

struct uint2 {
  unsigned x, y;
};
struct uint4 {
  unsigned x, y, z, w;
};
#define QUALIFIERS static inline
#include <curand_philox4x32_x.h>

int main(int, char **arguments) {
  unsigned long long seed = std::strtoull(arguments[1], nullptr, 10), offset = std::strtoull(arguments[2], nullptr, 10);
  unsigned long long n = std::strtoull(arguments[3], nullptr, 10);
  float keep = float(std::strtod(arguments[4], nullptr));
  for (unsigned long long thread = 0; thread < n / 4; ++thread) {
    curandStatePhilox4_32_10_t state{};
    state.key = {unsigned(seed), unsigned(seed >> 32)};
    Philox_State_Incr_hi(&state, thread);
    Philox_State_Incr(&state, offset / 4);
    uint4 drawn = curand_Philox4x32_10(state.ctr, state.key);
    for (unsigned number : {drawn.x, drawn.y, drawn.z, drawn.w}) {
      float uniform = number * 2.3283064e-10f + 2.3283064e-10f / 2.0f;
      std::putchar(uniform < keep ? '1' : '0');
    }
  }
}
