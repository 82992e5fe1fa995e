import { AppError } from '../../platform/index.ts';
import { KeyRefused } from './providers/provider.ts';

/** A blob that only the keys of projects open, or that was asked for on behalf of one, while that key cannot be used. */
export class ClosedBlob extends AppError {
  constructor(cause: unknown) {
    super('unavailable', `the key of this project cannot be ${cause instanceof KeyRefused ? 'used' : 'reached'} at the moment`, {
      cause,
      headers: { 'Retry-After': '5' },
    });
  }
}
