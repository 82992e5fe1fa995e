import { AppError } from '../platform/index.ts';

/** How long to wait before asking for a blob again that is being restored: archives take minutes to two days, clients see this. */
const RETRY_SECONDS = 900;

/** A blob whose bytes are in an archive, where they cannot be read before they were restored. */
export class ArchivedBlob extends AppError {
  constructor(cause?: unknown) {
    super('unavailable', 'the blob is in an archive; it has to be restored, which takes hours, and can be pulled then', {
      headers: { 'Retry-After': String(RETRY_SECONDS) },
      ...(cause === undefined ? {} : { cause }),
    });
  }
}
