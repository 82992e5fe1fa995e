import { createHash } from 'node:crypto';

/** The digest algorithms this registry stores and verifies, both first-class (image-spec descriptor.md, "Registered algorithms"). */
export const DIGEST_ALGORITHMS = ['sha256', 'sha512'] as const;
export type DigestAlgorithm = (typeof DIGEST_ALGORITHMS)[number];

const ENCODED: Record<DigestAlgorithm, RegExp> = {
  sha256: /^[a-f0-9]{64}$/,
  sha512: /^[a-f0-9]{128}$/,
};

export interface Digest {
  readonly algorithm: DigestAlgorithm;
  readonly hex: string;
}

export function isDigestAlgorithm(text: string): text is DigestAlgorithm {
  return text === 'sha256' || text === 'sha512';
}

/** Splits `algorithm:hex`; undefined when the grammar or the algorithm is not one we verify. */
export function parseDigest(text: string): Digest | undefined {
  const colon = text.indexOf(':');
  const algorithm = text.slice(0, colon);
  if (colon < 0 || !isDigestAlgorithm(algorithm)) return undefined;
  const hex = text.slice(colon + 1);
  return ENCODED[algorithm].test(hex) ? { algorithm, hex } : undefined;
}

export function isDigest(text: string): boolean {
  return parseDigest(text) !== undefined;
}

/** Digest of bytes already in memory, as `algorithm:hex`. */
export function digestOf(bytes: Uint8Array | string, algorithm: DigestAlgorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}
