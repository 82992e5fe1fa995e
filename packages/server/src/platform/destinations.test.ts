import { describe, expect, it } from 'vitest';
import { parseDestinations } from './destinations.ts';

describe('where outgoing calls may go', () => {
  const none = parseDestinations('');

  it.each([
    ['loopback', '127.0.0.1 127.255.255.254 ::1'],
    ['unspecified', '0.0.0.0 ::'],
    ['private', '10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 fd00::1 fec0::1'],
    ['link-local and metadata', '169.254.169.254 fe80::1 fd00:ec2::254 100.100.100.200 168.63.129.16 192.0.0.192'],
    ['shared, reserved, documentation, benchmarking', '100.64.0.1 240.0.0.1 255.255.255.255 192.0.2.1 198.18.0.1 203.0.113.1 2001:db8::1'],
    ['multicast', '224.0.0.1 239.255.255.250 ff02::1'],
    ['IPv4 inside IPv6', '::ffff:127.0.0.1 ::ffff:7f00:1 ::ffff:10.0.0.1 ::127.0.0.1 64:ff9b::7f00:1 2002:7f00:1:: 2001::1'],
    ['nothing at all', 'localhost example.com 127.1 0177.0.0.1 2130706433'],
  ])('not to %s', (_, addresses) => {
    const allowed = addresses.split(' ').filter((address) => none.allowsAddress(address, 'host.example'));
    expect(allowed).toEqual([]);
  });

  it('to public addresses', () => {
    for (const address of ['1.1.1.1', '172.32.0.1', '2606:4700::1111', '::ffff:1.1.1.1']) {
      expect(none.allowsAddress(address, 'host.example')).toBe(true);
    }
  });

  it('where the list says, and no further', () => {
    const some = parseDestinations('10.1.0.0/16, fd12::/32, 192.168.1.5, registry.internal, *.corp.example');
    const at = (address: string, host = 'any.example') => some.allowsAddress(address, host);
    expect(['10.1.2.3', '::ffff:10.1.2.3', 'fd12::5', '192.168.1.5'].map((address) => at(address))).toEqual([true, true, true, true]);
    expect(['10.2.0.1', 'fd13::5', '192.168.1.6', '127.0.0.1'].map((address) => at(address))).toEqual([false, false, false, false]);
    for (const host of ['registry.internal', 'Registry.Internal.', 'a.corp.example', 'a.b.corp.example'])
      expect(at('10.9.9.9', host)).toBe(true);
    for (const host of ['internal', 'x.registry.internal', 'corp.example', 'evilcorp.example']) expect(at('10.9.9.9', host)).toBe(false);
  });

  it.each(['10.0.0.0/33', '10.1/16', '010.0.0.0/8', '10.0.0', 'http://host', 'host:80', 'a b', '*', '*.*.x', '-x'])(
    'says that %s means nothing',
    (text) => {
      expect(() => parseDestinations(text)).toThrow(text);
    },
  );
});
