// What TensorRT's graphs leave to us. kernels.ptx is made from this by scripts/generate-kernels.

// Append the keys and values of one call to the cache, all layers at once.
//   fresh [batch, kv_heads, tokens, vectors] of each part, `stride` vectors apart; cache [parts, slots, kv_heads]
//   of [head_dim, max_seq_len] for keys and [max_seq_len, head_dim] for values. Parts: key and value of each
//   layer in turn; vectors: a head in pieces of 8 values. Of sequence b, `counts[b]` tokens go to the positions
//   from `past_lens[b]` on of slot `first_slot + b`.
// Grid (tokens, batch * kv_heads, parts), one thread a vector.
extern "C" __global__ void append(const uint4 *fresh, uint4 *cache, const int *past_lens, const int *counts,
                                  int kv_heads, int tokens, int vectors, int slots, int first_slot,
                                  int max_seq_len, int stride) {
  int token = blockIdx.x, sequence = blockIdx.y / kv_heads, head = blockIdx.y % kv_heads, part = blockIdx.z;
  int position = past_lens[sequence] + token;
  if (token >= counts[sequence] || position >= max_seq_len) return;
  long long from = (long long)part * stride + ((long long)blockIdx.y * tokens + token) * vectors;
  long long row = ((long long)part * slots + first_slot + sequence) * kv_heads + head;
  uint4 vector = fresh[from + threadIdx.x];
  if (part % 2) {
    cache[(row * max_seq_len + position) * vectors + threadIdx.x] = vector;
    return;
  }
  const unsigned short *values = (const unsigned short *)&vector;
  unsigned short *keys = (unsigned short *)cache + row * max_seq_len * vectors * 8;
  for (int i = 0; i < 8; i++) keys[(long long)(threadIdx.x * 8 + i) * max_seq_len + position] = values[i];
}

// logits[ids[i]] for i < count.
extern "C" __global__ void gather(const float *logits, const int *ids, float *found, int count) {
  int index = blockIdx.x * blockDim.x + threadIdx.x;
  if (index < count) found[index] = logits[ids[index]];
}

// What a thread, a warp, a block has seen of a row: the largest value, its first place, and the sum of the
// exponentials of all values less the largest.
struct Seen {
  float largest, sum;
  int place;
};

__device__ Seen both(Seen a, Seen b) {
  if (b.largest > a.largest || (b.largest == a.largest && b.place < a.place)) {
    Seen other = a;
    a = b;
    b = other;
  }
  a.sum += b.sum * expf(b.largest - a.largest);
  return a;
}

__device__ Seen all_of_warp(Seen seen) {
  for (int apart = 16; apart; apart /= 2) {
    Seen other = {__shfl_down_sync(~0u, seen.largest, apart), __shfl_down_sync(~0u, seen.sum, apart),
                  __shfl_down_sync(~0u, seen.place, apart)};
    seen = both(seen, other);
  }
  return seen;
}

// Each row's logits in 32 pieces. Grid (32, rows), 256 threads; found [rows, 32].
extern "C" __global__ void look(const float *logits, Seen *found, int vocab_size) {
  const float lowest = -3.0e38f;
  const float *row = logits + (long long)blockIdx.y * vocab_size;
  Seen seen = {lowest, 0.0f, vocab_size};
  for (int place = blockIdx.x * blockDim.x + threadIdx.x; place < vocab_size; place += gridDim.x * blockDim.x) {
    Seen one = {row[place], 1.0f, place};
    if (!(one.largest <= lowest)) seen = both(seen, one);  // what is no number shows in the sum
  }
  __shared__ Seen warps[8];
  seen = all_of_warp(seen);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = seen;
  __syncthreads();
  if (threadIdx.x) return;
  for (int warp = 1; warp < 8; warp++) seen = both(seen, warps[warp]);
  found[blockIdx.y * gridDim.x + blockIdx.x] = seen;
}

// The likeliest token of each row, the first of several, and the logarithm of its probability, from what `look`
// found. Grid (rows), 32 threads.
extern "C" __global__ void best(const Seen *found, int *ids, float *logprobs, int vocab_size) {
  Seen seen = all_of_warp(found[blockIdx.x * 32 + threadIdx.x]);
  if (threadIdx.x) return;
  ids[blockIdx.x] = seen.place < vocab_size ? seen.place : 0;
  logprobs[blockIdx.x] = -logf(seen.sum);
}
