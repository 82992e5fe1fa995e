import type { MaybePromise } from '../../platform/index.ts';

/**
 * Does something with each of many, at most so many at once, and gives the results in the order of what they are of. Where it
 * is one at a time, none is begun before it is asked for.
 */
export async function* ahead<T, R>(
  all: Iterable<T> | AsyncIterable<T>,
  most: number,
  work: (item: T) => MaybePromise<R>,
): AsyncGenerator<R, void, undefined> {
  const waiting: MaybePromise<R>[] = [];
  for await (const item of all) {
    const result = work(item);
    if (result instanceof Promise) result.catch(() => undefined); // heard where its turn comes, if it does
    waiting.push(result);
    if (waiting.length >= most) yield await (waiting.shift() as MaybePromise<R>);
  }
  for (const result of waiting) yield await result;
}
