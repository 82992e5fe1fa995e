/** A data key as it may lie anywhere: unreadable without its provider. */
export interface Wrapped {
  /** Version of the provider's key. */
  readonly version: string;
  readonly wrapped: string;
}

export const PROVIDERS = ['file', 'vault', 'aws'] as const;
export type ProviderName = (typeof PROVIDERS)[number];

/** Who keeps the keys that wrap data keys. All may fail while the provider cannot be reached. */
export interface KeyProvider {
  readonly name: ProviderName;
  /** The version under which it wraps from now on. */
  current(): Promise<string>;
  /** `id` names the data key: where the provider can, it unwraps under no other name. */
  wrap(key: Uint8Array, id: string): Promise<Wrapped>;
  unwrap(wrapped: Wrapped, id: string): Promise<Uint8Array>;
  /** The same data key under the newest version, without showing it to us where the provider can do so. */
  rewrap(wrapped: Wrapped, id: string): Promise<Wrapped>;
  /** Throws unless it would wrap and unwrap now. */
  health(): Promise<void>;
}

/** A wrapped key that its provider refuses to open, as opposed to a provider that cannot be reached. */
export class KeyRefused extends Error {
  override name = 'KeyRefused';
}
