import fc from 'fast-check';
import { expect, it } from 'vitest';
import { readForward } from './forward.ts';

async function* of(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) yield await Promise.resolve(chunk);
}

it('gives the same bytes from any position on, however they come', async () => {
  const chunks = fc.array(fc.uint8Array({ maxLength: 20, max: 3 }), { maxLength: 20 });
  const reads = fc.array(fc.record({ leap: fc.nat(30), length: fc.nat(30) }), { maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(chunks, reads, async (given, wanted) => {
      const all = Buffer.concat(given);
      const forward = readForward(of(given));
      let at = 0;
      for (const { leap, length } of wanted) {
        at += leap;
        expect(Buffer.from(await forward.readAt(at, length))).toEqual(all.subarray(at, at + length));
        at += length;
      }
      const isZero = all.subarray(at).every((byte) => byte === 0);
      expect(await forward.isZeroFrom(at)).toBe(isZero);
      if (isZero) expect(forward.size()).toBe(all.length);
    }),
  );
});

it('does not go back, and finds what is not zero wherever it is', async () => {
  const forward = readForward(of([Buffer.alloc(10), Buffer.alloc(10)]));
  await forward.readAt(15, 1);
  await expect(forward.readAt(3, 1)).rejects.toThrow(RangeError);
  for (const at of [0, 9, 10, 19]) {
    const bytes = Buffer.alloc(20);
    bytes[at] = 1;
    expect(await readForward(of([bytes.subarray(0, 10), bytes.subarray(10)])).isZeroFrom(0)).toBe(false);
    expect(await readForward(of([bytes.subarray(0, 10), bytes.subarray(10)])).isZeroFrom(at + 1)).toBe(true);
  }
});
