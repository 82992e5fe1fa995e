import { readFileSync } from 'node:fs';
import type { Config, Log } from '../../platform/index.ts';
import type { BlobStore, Companions } from '../blob-store.ts';
import { type Bucket, openBucket } from './bucket.ts';
import { createS3Companions } from './s3-companions.ts';
import { createS3Store } from './s3-store.ts';

/** What the keys of all that distribution keeps begin with. */
const LAYOUT = 'docker/registry/v2/';

/** The bucket as it is configured, or another one at the same server, and what keys begin with there. Throws for settings that cannot be used. */
async function openConfigured(config: Config, name = config.s3Bucket): Promise<{ bucket: Bucket; prefix: string }> {
  const bucket = await openBucket({
    bucket: name,
    region: config.s3Region,
    endpoint: config.s3Endpoint,
    pathStyle: config.s3Addressing === 'path' || (config.s3Addressing === 'auto' && config.s3Endpoint !== ''),
    keys: config.s3AccessKeyId === '' ? undefined : { id: config.s3AccessKeyId, secret: readSecret(config.s3SecretKeyFile) },
    checksums: config.s3Checksums === 'always',
    caFile: config.outboundCaFile,
  });
  return { bucket, prefix: config.s3Prefix === '' ? '' : `${config.s3Prefix.replace(/\/$/, '')}/` };
}

/** The bucket as it is configured, or another one at the same server. Throws for settings that cannot be used; a server that is down is no failure here. */
export async function openS3Storage(
  config: Config,
  log: Log,
  { name = config.s3Bucket, redirect = config.s3Redirect }: { name?: string; redirect?: boolean } = {},
): Promise<{ base: BlobStore; companions: Companions }> {
  const { bucket, prefix } = await openConfigured(config, name);
  const base = createS3Store(bucket, { prefix, redirect });
  // It may be down at the moment; what is wrong with the settings is seen here first.
  void base.ping().catch((error: unknown) => {
    log.error({ err: (error as Error).cause ?? error, bucket: name }, 'the bucket cannot be written to');
  });
  return { base, companions: createS3Companions(bucket, `${prefix}${LAYOUT}encryption/`) };
}

/** The bucket as it is, for whoever reads and writes what another registry keeps beside the blobs; `root` is what its keys begin with. */
export async function openS3Layout(config: Config): Promise<{ bucket: Bucket; root: string; name: string }> {
  const { bucket, prefix } = await openConfigured(config);
  return { bucket, root: `${prefix}${LAYOUT}`, name: `s3://${config.s3Bucket}/${prefix}${LAYOUT.slice(0, -1)}` };
}

function readSecret(file: string): string {
  let secret: string;
  try {
    secret = readFileSync(file, 'utf8').trim();
  } catch (cause) {
    throw new Error(`s3SecretKeyFile: ${(cause as Error).message}`, { cause });
  }
  if (!/^\S+$/.test(secret)) throw new Error(`s3SecretKeyFile: ${file} must hold the secret and nothing else`);
  return secret;
}
