import { existsSync } from 'node:fs';
import type { Config, Outbound } from '../../../platform/index.ts';
import type { Providers } from '../data-keys.ts';
import { openKms } from './aws-kms.ts';
import { createKeyFile, openKeyFile } from './local-file.ts';
import { type KeyProvider, PROVIDERS, type ProviderName } from './provider.ts';
import { openVault } from './vault.ts';

type Options = Pick<
  Config,
  'encryption' | 'encryptionVaultKey' | 'encryptionVaultTokenFile' | 'encryptionVaultNamespace' | 'encryptionAwsKey'
>;

/**
 * The provider that wraps new keys, and those besides it that the configuration names, which unwrap what they wrapped
 * before. `keyFile` is made where it wraps, is not there, and `isNew` says that nothing was ever wrapped.
 */
export function openProviders(
  config: Options,
  { keyFile, isNew, outbound }: { keyFile: string; isNew: boolean; outbound: Outbound },
): Providers {
  if (config.encryption === 'file' && isNew) createKeyFile(keyFile);
  const opened = new Map<ProviderName, KeyProvider>();
  if (existsSync(keyFile)) opened.set('file', openKeyFile(keyFile));
  if (config.encryptionVaultKey !== '') {
    const { encryptionVaultKey: key, encryptionVaultTokenFile: tokenFile, encryptionVaultNamespace: namespace } = config;
    opened.set('vault', openVault({ outbound, key, tokenFile, namespace }));
  }
  if (config.encryptionAwsKey !== '') opened.set('aws', openKms({ outbound, key: config.encryptionAwsKey }));
  const named = PROVIDERS.find((name) => name === config.encryption);
  const active = named && opened.get(named);
  if (!active) throw new Error(`${keyFile} is missing; a lost key file is not replaced, as no blob could be read with another`);
  return { active, of: (name) => opened.get(name as ProviderName) };
}
