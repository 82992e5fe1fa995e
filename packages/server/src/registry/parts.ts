import type { KeyObject } from 'node:crypto';
import type { Access } from '../access/index.ts';
import type { PullNotes } from '../catalog/index.ts';
import type { BlobStore, Encryption, HashThreads, SlabPool } from '../content/index.ts';
import type { AuditNotes, Clock, Database, Log, Metrics, RequestOrigin } from '../platform/index.ts';

export interface RegistryOptions {
  readonly sparseIndexes: boolean;
  readonly sparseImages: boolean;
  /** Whether pulls are told for the audit trail. */
  readonly auditPulls: boolean;
  /** Of a project that a push makes; 0: none. */
  readonly projectQuotaBytes: number;
  readonly manifestMaxBytes: number;
  readonly blobMaxBytes: number;
  /** How long a blob that nothing needs stays. */
  readonly collectionGraceSeconds: number;
}

/** All that the distribution API stands on, handed over by `app.ts`. */
export interface RegistryParts {
  readonly database: Database;
  readonly blobs: BlobStore;
  /** Keys of projects; undefined where nothing is encrypted. */
  readonly projectKeys: Encryption['projectKeys'] | undefined;
  readonly access: Access;
  readonly slabs: SlabPool;
  readonly hashThreads: HashThreads;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly origin: RequestOrigin;
  /** Where denials and pulls are told. */
  readonly notes: AuditNotes;
  /** Where pulls are told for their count. */
  readonly pulls: PullNotes;
  readonly options: RegistryOptions;
  /** Seals the ids of upload sessions. */
  readonly uploadKey: KeyObject;
  /** Told of bytes of a blob of that size that a client was given; undefined where nobody records it. Answers at once. */
  readonly onBlobRead?: ((digest: string, size: number, bytes: number) => void) | undefined;
  /** Told of a blob that met a request and is not what it should be; does not wait for what is made of it. */
  suspect(digest: string): void;
  /** Names this process in the leases it holds. */
  readonly holder: string;
}
