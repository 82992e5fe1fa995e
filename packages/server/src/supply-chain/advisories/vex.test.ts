import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { statementsOfVex, VexError } from './vex.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const openVex = (statement: object) => ({
  '@context': 'https://openvex.dev/ns/v0.2.0',
  timestamp: '2025-01-01T00:00:00Z',
  statements: [{ vulnerability: { name: 'CVE-2025-1', aliases: ['GHSA-x'] }, status: 'not_affected', ...statement }],
});

describe('a VEX document', () => {
  it('of OpenVEX speaks of images and of packages in them', () => {
    const products = [
      {
        '@id': `pkg:oci/app@sha256%3A${'a'.repeat(64)}?repository_url=registry.example/app`,
        subcomponents: [{ '@id': 'pkg:npm/x@1.0.0' }],
      },
      { '@id': 'ignored', identifiers: { purl: 'pkg:npm/y@2' } },
    ];
    const statement = { products, justification: 'vulnerable_code_not_in_execute_path', timestamp: '2025-02-01T00:00:00Z' };
    const common = {
      vulnerabilities: ['CVE-2025-1', 'GHSA-x'],
      status: 'not_affected',
      justification: statement.justification,
      at: Date.UTC(2025, 1, 1),
    };
    expect(statementsOfVex(openVex(statement))).toEqual([
      { ...common, product: DIGEST, parts: ['pkg:npm/x@1.0.0'] },
      { ...common, product: 'pkg:npm/y@2', parts: [] },
    ]);
  });
  it('without products speaks of what it is attached to', () => {
    expect(statementsOfVex(openVex({}))).toEqual([
      { vulnerabilities: ['CVE-2025-1', 'GHSA-x'], status: 'not_affected', justification: '', at: Date.UTC(2025, 0, 1), parts: [] },
    ]);
  });
  it('of CSAF names products in a tree, and parts of them', () => {
    const named = (id: string, purl: string) => ({ product_id: id, name: id, product_identification_helper: { purl } });
    const document = {
      document: { category: 'csaf_vex', tracking: { current_release_date: '2025-03-01T00:00:00Z' } },
      product_tree: {
        branches: [{ branches: [{ product: named('image', `pkg:oci/app@sha256:${'a'.repeat(64)}`) }] }],
        full_product_names: [named('lib', 'pkg:deb/debian/curl@7.88.1')],
        relationships: [
          {
            category: 'default_component_of',
            full_product_name: { product_id: 'image:lib' },
            product_reference: 'lib',
            relates_to_product_reference: 'image',
          },
        ],
      },
      vulnerabilities: [
        {
          cve: 'CVE-2025-1',
          product_status: { known_not_affected: ['image:lib', 'nobody'], fixed: ['lib'] },
          flags: [{ label: 'component_not_present', product_ids: ['image:lib'] }],
        },
      ],
    };
    expect(statementsOfVex(document)).toEqual([
      {
        vulnerabilities: ['CVE-2025-1'],
        status: 'not_affected',
        justification: 'component_not_present',
        at: Date.UTC(2025, 2, 1),
        product: DIGEST,
        parts: ['pkg:deb/debian/curl@7.88.1'],
      },
      {
        vulnerabilities: ['CVE-2025-1'],
        status: 'fixed',
        justification: '',
        at: Date.UTC(2025, 2, 1),
        product: 'pkg:deb/debian/curl@7.88.1',
        parts: [],
      },
    ]);
  });
  it('is refused where it is none, or says nothing that can be held to', () => {
    for (const bad of [null, [], {}, { '@context': 'https://other' }, openVex({ status: 'fine' }), openVex({ vulnerability: {} })])
      expect(() => statementsOfVex(bad)).toThrow(VexError);
    let tree: object = {};
    for (let i = 0; i < 100; i++) tree = { branches: [tree] };
    expect(() => statementsOfVex({ document: { category: 'csaf_vex' }, product_tree: tree })).toThrow(VexError);
  });
  it('never breaks the reader, whatever is in it', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (products, more) => {
        for (const document of [
          openVex({ products, ...(more as object) }),
          { document: { category: 'csaf_vex' }, product_tree: products, vulnerabilities: more },
        ]) {
          try {
            statementsOfVex(document);
          } catch (error) {
            expect(error).toBeInstanceOf(VexError);
          }
        }
      }),
    );
  });
});
