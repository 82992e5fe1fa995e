import { enqueue, type Session } from '../../platform/index.ts';

export const REWRAP_JOB = 'encryption.rewrap';
export const ENCRYPT_JOB = 'encryption.encrypt';

/** Starts the job that wraps all keys anew, or has it run again after its present run; gives its id. */
export async function startRewrap(tx: Session, now: number): Promise<number> {
  return await enqueue(tx, { kind: REWRAP_JOB, key: 'all', now });
}

/** Starts the job that encrypts what lies in the clear; gives its id. */
export async function startEncrypting(tx: Session, now: number): Promise<number> {
  return await enqueue(tx, { kind: ENCRYPT_JOB, key: 'all', now });
}
