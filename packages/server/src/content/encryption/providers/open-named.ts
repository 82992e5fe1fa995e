import { type Config, type Outbound, parseKeyNames } from '../../../platform/index.ts';
import type { NamedProviders } from '../data-keys.ts';
import { openKms } from './aws-kms.ts';
import { createKeyFile, openKeyFile } from './local-file.ts';
import type { KeyProvider } from './provider.ts';
import { openVault } from './vault.ts';

type Options = Pick<Config, 'encryptionProjectKeys' | 'encryptionVaultTokenFile' | 'encryptionVaultNamespace'>;

/**
 * The keys that projects may be given. A key file is made where it is not there and `isUsed` says that nothing was ever
 * wrapped by that name: a lost one is not replaced, and whoever destroyed one does not find another in its place.
 */
export async function openNamedProviders(
  config: Options,
  { outbound, isUsed }: { outbound: Outbound; isUsed: (name: string) => Promise<boolean> },
): Promise<NamedProviders> {
  const { encryptionVaultTokenFile: tokenFile, encryptionVaultNamespace: namespace } = config;
  const opened = new Map<string, KeyProvider>();
  for (const { name, provider, at } of parseKeyNames(config.encryptionProjectKeys)) {
    if (provider === 'vault') opened.set(name, openVault({ outbound, key: at, tokenFile, namespace }));
    else if (provider === 'aws') opened.set(name, openKms({ outbound, key: at }));
    else {
      if (!(await isUsed(name))) createKeyFile(at);
      opened.set(name, openKeyFile(at));
    }
  }
  return { names: [...opened.keys()], of: (name) => opened.get(name) };
}
