import { elasticsearchSink } from './elasticsearch.ts';
import { fluentdSink } from './fluentd.ts';
import { httpSink } from './http.ts';
import type { Sink, SinkParts } from './sink.ts';
import { syslogSink } from './syslog.ts';
import type { SinkSecrets, Target } from './targets.ts';

/** One delivery to a target, by its kind. */
export function createSink(target: Target, secrets: SinkSecrets, parts: SinkParts): Sink {
  switch (target.kind) {
    case 'fluentd':
      return fluentdSink(target, secrets, parts);
    case 'syslog':
      return syslogSink(target, secrets, parts);
    case 'elasticsearch':
      return elasticsearchSink(target, secrets, parts);
    case 'http':
      return httpSink(target, secrets, parts);
  }
}
