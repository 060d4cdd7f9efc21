// SPDX-License-Identifier: Apache-2.0
// A backend of Etsy's statsd that writes each flush as a line of JSON.
const fs = require('fs');

exports.init = function (startup, config, events) {
  events.on('flush', function (timestamp, metrics) {
    const line = { counters: metrics.counters, gauges: metrics.gauges, timers: metrics.timers };
    fs.appendFileSync(config.file, JSON.stringify(line) + '\n');
  });
  return true;
};
