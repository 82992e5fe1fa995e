import type { Command } from 'commander';
import { configOf, withConfig } from './options.ts';

type Options = Record<string, string>;

/** Commands on the keys of encryption at rest, for whoever may write to the data directory; the server may run. */
export function registerEncryption(program: Command): void {
  const encryption = program.command('encryption').description('look after the keys of encryption at rest');
  withConfig(encryption.command('status'))
    .description('tell how many data keys are wrapped under which version of the key')
    .action(async (options: Options) => {
      const { encryptionStatus } = await import('@entrepot/server/admin');
      const counts = await encryptionStatus(configOf(options));
      if (counts.length === 0) console.log('nothing is encrypted');
      for (const { provider, version, keys, copied } of counts) {
        console.log(`${provider} ${version}: ${keys} data keys, ${copied} of them with a copy beside the blobs`);
      }
    });
  withConfig(encryption.command('add-key'))
    .description('add a version to a key file, which wraps new data keys from now on; then rewrap')
    .option('--key <name>', 'of the keys that projects may have, in place of that of encryption')
    .action(async ({ key, ...options }: Options) => {
      const { addEncryptionKey } = await import('@entrepot/server/admin');
      console.log(`version ${await addEncryptionKey(configOf(options), key)}`);
    });
  withConfig(encryption.command('rewrap'))
    .description('have all data keys wrapped under the newest version, by the running server or the next one that is started')
    .action(async (options: Options) => {
      const { rewrapKeys } = await import('@entrepot/server/admin');
      console.log(`job ${await rewrapKeys(configOf(options))}`);
    });
}
