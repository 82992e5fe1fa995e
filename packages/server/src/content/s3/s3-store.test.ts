import { readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import { blobStoreContract } from '../contract.ts';
import { type Bucket, openBucket } from './bucket.ts';
import { createS3Store } from './s3-store.ts';
import { describeOnS3, settingsOf, startS3, type TestS3 } from './testing-server.ts';

describeOnS3('the S3 store on versitygw', () => {
  let server: TestS3;
  let buckets: Bucket[];
  let runs = 0;
  beforeAll(async () => {
    server = await startS3();
    buckets = [await openBucket(settingsOf(server.endpoint)), await openBucket(settingsOf(server.endpoint, { checksums: false }))];
  });
  afterAll(async () => {
    for (const bucket of buckets) bucket.close();
    await server.close();
  });

  const bucket = (which: number) => {
    const found = buckets[which % buckets.length];
    if (!found) throw new Error('no bucket');
    return found;
  };

  // Instances with other settings of checksums share a bucket too.
  blobStoreContract('S3', () => {
    const prefix = `run-${++runs}/`;
    const root = `${prefix}docker/registry/v2`;
    let opened = 0;
    return {
      open: () => createS3Store(bucket(opened++), { prefix, redirect: false }),
      damage: (digest, bytes) => {
        const [algorithm, hex = ''] = digest.split(':');
        return bucket(0).put(`${root}/blobs/${algorithm}/${hex.slice(0, 2)}/${hex}/data`, bytes);
      },
      async age(id, time) {
        const folder = join(server.folder, root, 'uploads', id);
        for (const name of readdirSync(folder)) utimesSync(join(folder, name), time / 1000, time / 1000);
      },
      remove: async () => undefined,
    };
  });
});
