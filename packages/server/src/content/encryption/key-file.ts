import { join } from 'node:path';
import { type Config, dataPaths } from '../../platform/index.ts';

/** Where the keys of provider `file` are. */
export function keyFileOf(config: Config): string {
  return config.encryptionKeyFile === '' ? join(dataPaths(config).keys, 'encryption.keys') : config.encryptionKeyFile;
}
