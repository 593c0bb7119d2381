/* Nothing on this site needs this file: it only adds to pages that are complete without it. */
(function () {
  'use strict';

  function make(tag, text, className) {
    var node = document.createElement(tag);
    if (text !== undefined) node.textContent = text;
    if (className) node.className = className;
    return node;
  }

  /* A button beside every command. */
  function addCopyButtons() {
    if (!navigator.clipboard || !navigator.clipboard.writeText) return;
    document.querySelectorAll('.shell').forEach(function (shell) {
      var button = make('button', 'Copy');
      button.type = 'button';
      button.addEventListener('click', function () {
        navigator.clipboard.writeText(shell.querySelector('pre').textContent.trim()).then(function () {
          button.textContent = 'Copied';
          setTimeout(function () { button.textContent = 'Copy'; }, 1600);
        }, function () {
          button.textContent = 'Refused';
        });
      });
      shell.append(button);
    });
  }

  /* How this very page came over the wire. */
  var bytes = new Intl.NumberFormat('en');

  function protocolName(entry) {
    return { h2: 'HTTP/2', h3: 'HTTP/3', 'http/1.1': 'HTTP/1.1', 'http/1.0': 'HTTP/1.0' }[entry.nextHopProtocol] ||
      entry.nextHopProtocol || '\u2013';
  }

  function wireText(entry) {
    if (entry.transferSize) return bytes.format(entry.transferSize) + ' B';
    return entry.decodedBodySize ? 'cache' : '\u2013';
  }

  function pathOf(entry) {
    var url = new URL(entry.name);
    var path = url.pathname;
    try { path = decodeURIComponent(path); } catch (error) { /* keep it as it is */ }
    return url.origin === location.origin ? path : entry.name;
  }

  function row(entry) {
    var tr = make('tr');
    var th = make('th', pathOf(entry), 'path');
    th.scope = 'row';
    tr.append(th, make('td', protocolName(entry)),
      make('td', wireText(entry), 'num'),
      make('td', bytes.format(entry.decodedBodySize || 0) + ' B', 'num'),
      make('td', (entry.responseEnd - entry.startTime).toFixed(1) + ' ms', 'num'));
    return tr;
  }

  function showWire() {
    var section = document.getElementById('wire');
    if (!section || !window.performance || !performance.getEntriesByType) return;
    var entries = performance.getEntriesByType('navigation')
      .concat(performance.getEntriesByType('resource'))
      .filter(function (entry) { return /^https?:/.test(entry.name); });
    if (!entries.length) return;

    var body = section.querySelector('tbody');
    var sent = 0, size = 0;
    entries.forEach(function (entry) {
      body.append(row(entry));
      sent += entry.transferSize || 0;
      size += entry.decodedBodySize || 0;
    });
    section.querySelector('[data-sum="sent"]').textContent = bytes.format(sent) + ' B';
    section.querySelector('[data-sum="size"]').textContent = bytes.format(size) + ' B';
    section.hidden = false;
  }

  addCopyButtons();
  if (document.readyState === 'complete') setTimeout(showWire, 0);
  else window.addEventListener('load', function () { setTimeout(showWire, 0); });
}());
