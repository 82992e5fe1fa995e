import type { ListObjectsV2CommandOutput } from '@aws-sdk/client-s3';
import { toFailure } from './failures.ts';

export interface BucketObject {
  readonly key: string;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly modified: number;
}

export interface PageOptions {
  /** What lies behind the next slash is told as a folder and nothing else. */
  readonly byFolder?: boolean;
  /** What the page before gave as the next. */
  readonly after?: string | undefined;
}

/** What one request of a listing gives, in the order of keys. */
export interface BucketPage {
  readonly objects: readonly BucketObject[];
  /** What keys of folders begin with, each ending with a slash. */
  readonly folders: readonly string[];
  /** Asks for the next page; undefined on the last. */
  readonly next: string | undefined;
}

/** Reads an answer; keys in it are encoded where the server says so, as XML has no word for some characters. */
export function toPage(prefix: string, answer: ListObjectsV2CommandOutput): BucketPage {
  const { Contents = [], CommonPrefixes = [], IsTruncated, NextContinuationToken, EncodingType } = answer;
  const plain = (text: string) => (EncodingType === 'url' ? decodeURIComponent(text.replaceAll('+', ' ')) : text);
  if (IsTruncated === true && NextContinuationToken === undefined) throw toFailure(new Error(`a listing of ${prefix} breaks off`));
  const objects: BucketObject[] = [];
  for (const { Key, Size, LastModified } of Contents) {
    if (Key !== undefined && Size !== undefined) objects.push({ key: plain(Key), size: Size, modified: LastModified?.getTime() ?? 0 });
  }
  const folders = CommonPrefixes.flatMap(({ Prefix }) => (Prefix === undefined ? [] : [plain(Prefix)]));
  return { objects, folders, next: IsTruncated === true ? NextContinuationToken : undefined };
}
