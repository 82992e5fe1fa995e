import { AppError } from '../../platform/index.ts';
import { ArchivedBlob } from '../archived.ts';

/** What an error of the S3 client tells; all of it may be absent. */
interface Told {
  readonly name?: string;
  readonly Code?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

const FULL = new Set(['InsufficientStorage', 'QuotaExceeded', 'XMinioStorageFull']);
const RETRY = { 'Retry-After': '2' };

const told = (error: unknown): Told => error ?? {};

function statusOf(error: unknown): number | undefined {
  return told(error).$metadata?.httpStatusCode;
}

/** Whether it is this error of S3, by its code. */
function isCode(error: unknown, ...codes: readonly string[]): boolean {
  const { name = '', Code = '' } = told(error);
  return codes.includes(name) || codes.includes(Code);
}

/** No such object, or no such multipart upload. */
export function isMissing(error: unknown): boolean {
  return statusOf(error) === 404 || isCode(error, 'NoSuchKey', 'NotFound', 'NoSuchUpload');
}

/** There is such an object already, where none was wanted; or another is about to make it. */
export function isPresent(error: unknown): boolean {
  return statusOf(error) === 412 || isCode(error, 'PreconditionFailed', 'ConditionalRequestConflict');
}

/** The server does not know what it was asked for. */
export function isNotImplemented(error: unknown): boolean {
  return statusOf(error) === 501 || isCode(error, 'NotImplemented');
}

/** The server will say the same again: what was asked for is not allowed, or not there, or not as it should be. */
export function isRefusal(error: unknown): boolean {
  const status = statusOf(error) ?? 0;
  return status >= 300 && status < 500 && status !== 408 && status !== 429 && !isCode(error, 'RequestTimeout', 'SlowDown', 'Throttling');
}

/** The object lies in an archive and has to be restored before it can be read. */
export function isArchived(error: unknown): boolean {
  return isCode(error, 'InvalidObjectState');
}

/** It was asked to be restored before. */
export function isBeingRestored(error: unknown): boolean {
  return isCode(error, 'RestoreAlreadyInProgress');
}

/** Whatever fails at the bucket is told as storage that is full, or cannot be reached: nothing was stored, and it is tried again. */
export function toFailure(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (isArchived(error)) return new ArchivedBlob(error);
  if (statusOf(error) === 507 || isCode(error, ...FULL)) {
    return new AppError('storage_full', 'the registry has no space left; nothing was stored', { cause: error, headers: RETRY });
  }
  return new AppError('unavailable', 'the registry cannot reach its storage at the moment; nothing was stored', {
    cause: error,
    headers: RETRY,
  });
}
