import { isRepositoryName } from '@entrepot/oci';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AppError } from '../platform/index.ts';
import { parsePath, type Resource } from './paths.ts';

const hex = fc.constantFrom(...'0123456789abcdef');
const digest = fc
  .constantFrom(['sha256', 64] as const, ['sha512', 128] as const)
  .chain(([algorithm, length]) => fc.string({ unit: hex, minLength: length, maxLength: length }).map((digits) => `${algorithm}:${digits}`));
const tag = fc.stringMatching(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/);
const word = fc.oneof(
  fc.stringMatching(/^[a-z0-9]{1,6}([._-][a-z0-9]{1,3})?$/),
  // Words of the API are good names too.
  fc.constantFrom('v2', 'blobs', 'uploads', 'manifests', 'tags', 'list', 'referrers'),
);
const name = fc.array(word, { minLength: 1, maxLength: 5 }).map((parts) => parts.join('/'));

/** Every path of the specification, with what it names. */
const SPEC: readonly [string, fc.Arbitrary<string>, (name: string, reference: string) => string, Resource][] = [
  ['end-2, end-10: a blob', digest, (n, r) => `/v2/${n}/blobs/${r}`, 'blob'],
  ['end-3, end-7, end-9: a manifest by tag', tag, (n, r) => `/v2/${n}/manifests/${r}`, 'manifest'],
  ['end-3, end-7, end-9: a manifest by digest', digest, (n, r) => `/v2/${n}/manifests/${r}`, 'manifest'],
  ['end-4, end-11: new uploads', fc.constant(''), (n) => `/v2/${n}/blobs/uploads/`, 'uploads'],
  ['new uploads as some clients spell them', fc.constant(''), (n) => `/v2/${n}/blobs/uploads`, 'uploads'],
  ['end-5, end-6, end-13, end-14: an upload', fc.uuid(), (n, r) => `/v2/${n}/blobs/uploads/${r}`, 'upload'],
  ['end-8: tags', fc.constant(''), (n) => `/v2/${n}/tags/list`, 'tags'],
  ['end-12: referrers', digest, (n, r) => `/v2/${n}/referrers/${r}`, 'referrers'],
];

/** Some characters as percent codes, as a client or proxy may write them. */
const encoded = (text: string, places: readonly number[]) =>
  [...text].map((c, i) => (places.includes(i % 16) && i > 3 ? `%${c.charCodeAt(0).toString(16).padStart(2, '0')}` : c)).join('');

describe('parsePath', () => {
  it.each(SPEC)('reads %s, of any name, also percent-encoded', (_, reference, path, resource) => {
    fc.assert(
      fc.property(name, reference, fc.uniqueArray(fc.nat(15)), (n, r, places) => {
        expect(parsePath(path(n, r))).toEqual({ resource, name: n, reference: r });
        expect(parsePath(encoded(path(n, r), places))).toEqual({ resource, name: n, reference: r });
      }),
    );
  });

  it.each([
    ['/v2/', 'base'],
    ['/v2', 'base'],
    ['/v2/_catalog', 'catalog'],
  ])('reads %s', (path, resource) => {
    expect(parsePath(path)).toEqual({ resource, name: '', reference: '' });
  });

  it.each([
    '',
    '/',
    '/v1/',
    '/v2x',
    '/v2//',
    '/v2/demo',
    '/v2/demo/',
    '/v2/demo/app',
    '/v2/_catalog/',
    '/v2/manifests/latest',
    '/v2/blobs/uploads/',
    '/v2/tags/list',
    '/v2/demo/tags',
    '/v2/demo/tags/list/',
    '/v2/demo/tags/other',
    '/v2/demo/uploads/0',
    '/v2/demo/blobs/uploads/0/more',
    '/v2/demo/_oci/ext',
    'v2/demo/manifests/latest',
  ])('knows no %j', (path) => {
    expect(parsePath(path)).toBeUndefined();
  });

  it.each(['/v2/../manifests/x', '/v2/a/../b/manifests/x', '/v2/A/tags/list', '/v2/a//b/tags/list', '/v2/a%2F..%2Fb/tags/list'])(
    'refuses the name in %j',
    (path) => {
      expect(() => parsePath(path)).toThrow(expect.objectContaining({ code: 'name_invalid' }));
    },
  );

  it.each(['/v2/a%/tags/list', '/v2/a/manifests/%ff', '/v2/%zz/tags/list', '/v2/a/manifests/%c3'])('refuses the encoding of %j', (path) => {
    expect(() => parsePath(path)).toThrow(expect.objectContaining({ code: 'name_invalid' }));
  });

  it('decodes once only', () => {
    expect(parsePath('/v2/a/manifests/%2541')).toEqual({ resource: 'manifest', name: 'a', reference: '%41' });
    expect(() => parsePath('/v2/a%252fb/tags/list')).toThrow(expect.objectContaining({ code: 'name_invalid' }));
  });

  it('throws nothing but an AppError, and gives no name outside the grammar, whatever the text', () => {
    const piece = fc.oneof(
      fc.constantFrom(
        '/v2/',
        '/',
        'blobs',
        'uploads',
        'manifests',
        'tags',
        'list',
        'referrers',
        '..',
        '%2f',
        '%',
        '%00',
        '\0',
        'a',
        ':',
        '\r\n',
      ),
      fc.string({ unit: 'binary', maxLength: 4 }),
    );
    const text = fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(''));
    fc.assert(
      fc.property(
        text,
        text.map((rest) => `/v2/${rest}`),
        (any, under) => {
          for (const path of [any, under]) {
            try {
              const found = parsePath(path);
              if (found && !['base', 'catalog'].includes(found.resource)) expect(isRepositoryName(found.name)).toBe(true);
            } catch (error) {
              if (!(error instanceof AppError)) throw error;
            }
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
