import { constants } from 'node:os';
import type { OciErrorCode } from '@entrepot/oci';

interface ErrorKind {
  readonly status: number;
  readonly oci: OciErrorCode;
}

/** Every failure a caller can be told of: stable code, HTTP status, and the code of the distribution API. */
export const ERRORS = {
  blob_unknown: { status: 404, oci: 'BLOB_UNKNOWN' },
  blob_referenced: { status: 405, oci: 'UNSUPPORTED' },
  upload_invalid: { status: 400, oci: 'BLOB_UPLOAD_INVALID' },
  upload_unknown: { status: 404, oci: 'BLOB_UPLOAD_UNKNOWN' },
  upload_busy: { status: 409, oci: 'BLOB_UPLOAD_INVALID' },
  upload_range: { status: 416, oci: 'BLOB_UPLOAD_INVALID' },
  upload_too_large: { status: 413, oci: 'SIZE_INVALID' },
  digest_invalid: { status: 400, oci: 'DIGEST_INVALID' },
  manifest_blob_unknown: { status: 404, oci: 'MANIFEST_BLOB_UNKNOWN' },
  manifest_invalid: { status: 400, oci: 'MANIFEST_INVALID' },
  manifest_too_large: { status: 413, oci: 'SIZE_INVALID' },
  manifest_unknown: { status: 404, oci: 'MANIFEST_UNKNOWN' },
  manifest_referenced: { status: 405, oci: 'UNSUPPORTED' },
  name_invalid: { status: 400, oci: 'NAME_INVALID' },
  name_unknown: { status: 404, oci: 'NAME_UNKNOWN' },
  tag_immutable: { status: 409, oci: 'DENIED' },
  tag_invalid: { status: 400, oci: 'TAG_INVALID' },
  too_many_tags: { status: 414, oci: 'TAG_INVALID' },
  pagination_invalid: { status: 400, oci: 'PAGINATION_NUMBER_INVALID' },
  range_unsatisfiable: { status: 416, oci: 'RANGE_INVALID' },
  precondition_failed: { status: 412, oci: 'DENIED' },
  unauthorized: { status: 401, oci: 'UNAUTHORIZED' },
  second_factor_required: { status: 401, oci: 'UNAUTHORIZED' },
  denied: { status: 403, oci: 'DENIED' },
  quota_exceeded: { status: 403, oci: 'DENIED' },
  not_found: { status: 404, oci: 'UNSUPPORTED' },
  method_not_allowed: { status: 405, oci: 'UNSUPPORTED' },
  bad_request: { status: 400, oci: 'UNSUPPORTED' },
  invalid_input: { status: 400, oci: 'UNSUPPORTED' },
  password_rejected: { status: 400, oci: 'UNSUPPORTED' },
  body_too_large: { status: 413, oci: 'SIZE_INVALID' },
  media_type_unsupported: { status: 415, oci: 'UNSUPPORTED' },
  conflict: { status: 409, oci: 'UNSUPPORTED' },
  idempotency_mismatch: { status: 422, oci: 'UNSUPPORTED' },
  request_timeout: { status: 408, oci: 'BLOB_UPLOAD_INVALID' },
  too_many_requests: { status: 429, oci: 'TOOMANYREQUESTS' },
  storage_full: { status: 507, oci: 'UNAVAILABLE' },
  unavailable: { status: 503, oci: 'UNAVAILABLE' },
  internal: { status: 500, oci: 'UNKNOWN' },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof ERRORS;

interface AppErrorOptions {
  readonly detail?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** A failure that may be shown: `message` and `detail` go to the client, `cause` to the log only. */
export class AppError extends Error {
  override name = 'AppError';
  readonly code: ErrorCode;
  readonly detail: unknown;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    // Nobody reads the stack of what a client is told as its own mistake, and taking it costs more than the request.
    const { stackTraceLimit } = Error;
    if (ERRORS[code].status < 500) Error.stackTraceLimit = 0;
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    Error.stackTraceLimit = stackTraceLimit;
    this.code = code;
    this.detail = options.detail;
    this.headers = options.headers ?? {};
  }

  get status(): number {
    return ERRORS[this.code].status;
  }
}

/** A refusal as the audit trail tells of it. */
export interface Denial {
  readonly reason: string;
  /** The tag that a rule holds. */
  readonly tag?: string;
}

/**
 * What a request was denied for, in words that are equal for equal ones, so that repeated ones become one record: who made it,
 * or a rule of the project or the system (immutability, quota); undefined for any other failure.
 */
export function denialOf({ status, code, message, detail }: AppError): Denial | undefined {
  const { tag, quota = '' } = (detail ?? {}) as { readonly tag?: string; readonly quota?: string };
  if (code === 'tag_immutable') return { reason: message, ...(tag === undefined ? {} : { tag }) };
  if (code === 'quota_exceeded') return { reason: `the project's quota of ${quota} has no room` };
  return status === 401 || status === 403 || status === 429 ? { reason: message } : undefined;
}

/** A quota of the file system; libuv has no name for it. */
const OVER_QUOTA = -constants.errno.EDQUOT;
const SQLITE_FULL = 13;
export const SQLITE_BUSY = 5;
const SQLITE_UNAVAILABLE = new Set([SQLITE_BUSY, 6, 8, 10, 14]); // busy, locked, read-only, I/O error, cannot open

/** The primary code of an error of SQLite (sqlite.org/rescode.html); undefined for any other. */
export function sqliteCode(error: unknown): number | undefined {
  const { errcode } = (error ?? {}) as { errcode?: number };
  return errcode === undefined ? undefined : errcode & 0xff;
}

/** Turns whatever was thrown into what may be shown: full storage is 507, failing storage 503, anything unforeseen 500. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const { code, errno } = (error ?? {}) as NodeJS.ErrnoException;
  const primary = sqliteCode(error);
  if (code === 'ENOSPC' || errno === OVER_QUOTA || primary === SQLITE_FULL) {
    return new AppError('storage_full', 'the registry has no space left; nothing was stored', { cause: error, headers: RETRY });
  }
  if (
    code === 'EIO' ||
    code === 'EROFS' ||
    code === 'EMFILE' ||
    code === 'ENFILE' ||
    (primary !== undefined && SQLITE_UNAVAILABLE.has(primary))
  ) {
    return new AppError('unavailable', 'the registry cannot reach its storage at the moment; nothing was stored', {
      cause: error,
      headers: RETRY,
    });
  }
  return new AppError('internal', 'the registry met an unexpected condition', { cause: error });
}

const RETRY = { 'Retry-After': '2' };
