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
