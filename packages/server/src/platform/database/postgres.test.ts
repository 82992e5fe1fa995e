import { existsSync } from 'node:fs';
import { afterAll, describe } from 'vitest';
import { databaseContract } from './contract.ts';
import { postgresData, postgresDataIn } from './testing.ts';
import { type Cluster, DEBIAN_BIN, startCluster } from './testing-postgres.ts';

databaseContract('PostgreSQL', postgresData);

describe.skipIf(!existsSync(`${DEBIAN_BIN}/postgres`))("Debian's PostgreSQL", () => {
  let cluster: Promise<Cluster> | undefined;
  afterAll(async () => (await cluster)?.remove());
  databaseContract(
    'PostgreSQL 15',
    postgresDataIn(() => (cluster ??= startCluster({ bin: DEBIAN_BIN }))),
  );
});
