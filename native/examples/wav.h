/* SPDX-License-Identifier: Apache-2.0 */
/* Samples of a WAV file: one channel of 16 bits. What else a file says is refused. */
#ifndef WAV_H
#define WAV_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct {
  FILE *file;
  uint32_t rate, samples_left;
} wav;

static inline uint32_t wav_number(const unsigned char *at, int bytes) {
  uint32_t value = 0;
  for (int i = 0; i < bytes; i++) value |= (uint32_t)at[i] << 8 * i;
  return value;
}

/* Open a file; NULL, or what is wrong with it. Chunks are skipped by reading, as a pipe cannot seek,
 * so a length that is a lie ends with the file. */
static inline const char *wav_open(wav *sound, const char *path) {
  unsigned char head[16];
  int known = 0;
  sound->file = fopen(path, "rb");
  if (!sound->file) return "it cannot be read";
  if (fread(head, 1, 12, sound->file) != 12 || memcmp(head, "RIFF", 4) || memcmp(head + 8, "WAVE", 4))
    return "it is no WAV file";
  while (fread(head, 1, 8, sound->file) == 8) {
    uint32_t bytes = wav_number(head + 4, 4);
    if (!memcmp(head, "data", 4)) {
      sound->samples_left = bytes / 2;
      return known ? NULL : "its sound comes before its format";
    }
    uint32_t skipped = bytes;
    if (!memcmp(head, "fmt ", 4)) {
      if (bytes < 16 || fread(head, 1, 16, sound->file) != 16) return "its format is cut off";
      if (wav_number(head, 2) != 1 || wav_number(head + 2, 2) != 1 || wav_number(head + 14, 2) != 16)
        return "it must have one channel of plain 16-bit samples";
      sound->rate = wav_number(head + 4, 4);
      known = 1;
      skipped -= 16;
    }
    for (uint64_t n = (uint64_t)skipped + bytes % 2; n; n--)
      if (getc(sound->file) == EOF) return "it ends within a chunk";
  }
  return "it has no sound";
}

/* Read up to `count` samples as values from -1 to 1; returns how many. */
static inline size_t wav_read(wav *sound, float *samples, size_t count) {
  size_t read = 0;
  unsigned char two[2];
  for (; read < count && sound->samples_left; read++, sound->samples_left--) {
    if (fread(two, 1, 2, sound->file) != 2) break;
    const uint32_t value = wav_number(two, 2);
    samples[read] = (float)(value < 32768 ? (int32_t)value : (int32_t)value - 65536) / 32768;
  }
  return read;
}
#endif
