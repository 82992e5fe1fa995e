import { AppError, type ERRORS, toAppError } from '../platform/index.ts';

/** A failure as `application/problem+json` (RFC 9457). */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** Stable; programs decide by this. */
  readonly code: string;
  readonly detail: string;
  readonly requestId?: string;
  /** Each part of the input that is wrong. */
  readonly errors?: readonly { readonly at: string; readonly message: string }[];
}

/** What is wrong with the input of a request, part by part. */
export class InvalidInput extends AppError {
  readonly errors: readonly { readonly at: string; readonly message: string }[];

  constructor(errors: InvalidInput['errors']) {
    super('invalid_input', errors.map(({ at, message }) => `${at} ${message}`).join('; '));
    this.errors = errors;
  }
}

/** What Fastify refuses by itself, such as a body that is no JSON or too large. */
interface HttpFailure {
  readonly statusCode?: number;
  readonly code?: string;
}

const BY_STATUS = new Map<number, keyof typeof ERRORS>([
  [400, 'bad_request'],
  [404, 'not_found'],
  [405, 'method_not_allowed'],
  [413, 'body_too_large'],
  [415, 'media_type_unsupported'],
]);

export function toShown(thrown: unknown): AppError {
  const { statusCode, code } = (thrown ?? {}) as HttpFailure;
  const known = code?.startsWith('FST_') ? BY_STATUS.get(statusCode ?? 0) : undefined;
  return known ? new AppError(known, (thrown as Error).message, { cause: thrown }) : toAppError(thrown);
}

export function problemOf(error: AppError, requestId: string | undefined): Problem {
  return {
    type: `urn:entrepot:problem:${error.code}`,
    title: error.code.replaceAll('_', ' '),
    status: error.status,
    code: error.code,
    detail: error.message,
    ...(requestId === undefined ? {} : { requestId }),
    ...(error instanceof InvalidInput ? { errors: error.errors } : {}),
  };
}
