import { type Answer, type Client, must } from '../harness/client.ts';

/** Follows `Link: …; rel="next"` to the end as a client does, and gives all pages. */
export async function walk(client: Client, path: string): Promise<Answer[]> {
  const pages: Answer[] = [];
  const seen = new Set<string>();
  for (let next: string | undefined = path; next !== undefined; ) {
    if (seen.has(next)) throw new Error(`page ${next} leads to itself`);
    seen.add(next);
    const page: Answer = await must(client, [200], 'GET', next);
    pages.push(page);
    const link: string | null = page.headers.get('link');
    const [, target] = /^<([^<>]+)>; rel="next"$/.exec(link ?? '') ?? [];
    if (link !== null && target === undefined) throw new Error(`not a link to a next page: ${link}`);
    next = target;
  }
  return pages;
}
