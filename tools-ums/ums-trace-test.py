#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""
Test of ums-trace's conversion: usage: ums-trace-test.py PROGRAM

Needs no kernel with tracepoints: the events are printed below.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

PROGRAM = './ums-trace'

# A scheduler, 20, with two workers, 11 and 12; one that nobody runs, 13.
EVENTS = '''\
1.000000 prog-11 worker_enter: worker_pid=11 tgid=10 clist=1 cookie=0x0
1.000010 prog-11 stop: scheduler_pid=0 worker_pid=11 cause=new clist=1
1.000020 prog-12 worker_enter: worker_pid=12 tgid=10 clist=1 cookie=0x7
1.000030 prog-12 stop: scheduler_pid=0 worker_pid=12 cause=new clist=1
1.000100 prog-20 scheduler_enter: scheduler_pid=20 tgid=10 clist=1 flags=block_events|keep
1.000110 prog-20 dequeue: scheduler_pid=20 worker_pid=11 clist=1
1.000111 prog-20 dequeue: scheduler_pid=20 worker_pid=12 clist=1
1.000200 prog-20 exec: scheduler_pid=20 worker_pid=11 slice_ns=0
1.000300 prog-11 switch: scheduler_pid=20 prev_pid=11 next_pid=12
1.000400 prog-12 block: scheduler_pid=20 worker_pid=12 syscall=-1
1.000450 prog-20 exec: scheduler_pid=20 worker_pid=11 slice_ns=50000
1.000500 prog-11 preempt: scheduler_pid=20 worker_pid=11 slice=1
1.000510 prog-11 stop: scheduler_pid=20 worker_pid=11 cause=preempted clist=0
1.000600 prog-20 wait_begin: scheduler_pid=20 clist=1
1.000700 prog-12 unblock: worker_pid=12 clist=1
1.000710 prog-20 wait_end: scheduler_pid=20 ret=0
1.000720 prog-20 dequeue: scheduler_pid=20 worker_pid=12 clist=1
1.000730 prog-20 exec: scheduler_pid=20 worker_pid=12 slice_ns=0
1.000800 kworker/0:1-7 stop: scheduler_pid=20 worker_pid=12 cause=terminated clist=0
1.000801 kworker/0:1-7 worker_exit: worker_pid=12 tgid=10
1.000900 prog-20 scheduler_exit: scheduler_pid=20 tgid=10
1.000901 prog-20 requeue: scheduler_pid=20 worker_pid=11 clist=1
1.001000 prog-13 worker_enter: worker_pid=13 tgid=10 clist=1 cookie=0x0
'''

SCHEDULER = [
    # begin, end, what
    (100, 200, 'scheduler', {}),
    (200, 300, 'worker 11', {'worker': 11, 'stopped': 'switched'}),
    (300, 400, 'worker 12', {'worker': 12, 'stopped': 'blocked'}),
    (400, 450, 'scheduler', {}),
    (450, 510, 'worker 11', {'worker': 11, 'stopped': 'preempted'}),
    (510, 600, 'scheduler', {}),
    (600, 710, 'idle', {}),
    (710, 730, 'scheduler', {}),
    (730, 800, 'worker 12', {'worker': 12, 'stopped': 'terminated'}),
    (800, 900, 'scheduler', {}),
]

WORKER = [
    (20, 30, 'running', {'scheduler': 0, 'stopped': 'new'}),
    (30, 300, 'ready', {}),
    (300, 400, 'running', {'scheduler': 20, 'stopped': 'blocked'}),
    (400, 700, 'blocked', {'in': 'a fault'}),
    (700, 730, 'ready', {}),
    (730, 800, 'running', {'scheduler': 20, 'stopped': 'terminated'}),
]


def printed(fmt):
    """EVENTS as one of the tools prints them."""
    lines = []
    for line in EVENTS.splitlines():
        stamp, thread, event = line.split(' ', 2)
        comm, pid = thread.rsplit('-', 1)
        name, fields = event.split(': ', 1)
        lines.append(fmt.format(stamp=stamp, comm=comm, pid=pid, name=name,
                                fields=fields))
    return '\n'.join(lines) + '\n'


TRACEFS = '# tracer: nop\n#\n' + \
    printed('{comm:>16}-{pid:<7} [001] d..2.  {stamp}: ums_{name}: {fields}')
TRACE_CMD = 'cpus=2\n' + \
    printed('{comm:>16}-{pid:<5} [001] d..2. {stamp}: ums_{name}:   {fields}')
PERF = printed('{comm:>16} {pid:>7} [001] {stamp}000: ums:ums_{name}: {fields}')


def run(*args, text=None):
    return subprocess.run([PROGRAM, *args], input=text, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          check=False)


def spans(trace, tid):
    """What a row shows, as the tables above have it."""
    return [(round(e['ts']), round(e['ts'] + e['dur']), e['name'],
             e.get('args', {}))
            for e in trace['traceEvents'] if e['ph'] == 'X' and e['tid'] == tid]


def storm(runs):
    """A scheduler that runs two workers in turn, for a microsecond each."""
    lines = []
    for i in range(runs):
        begin, end = 5 + 2 * i / 1e6, 5 + (2 * i + 1) / 1e6
        worker = 11 + i % 2
        lines.append(f'p-20 [000] {begin:.6f}: ums_exec: scheduler_pid=20 '
                     f'worker_pid={worker} slice_ns=0')
        lines.append(f'p-{worker} [000] {end:.6f}: ums_stop: scheduler_pid=20 '
                     f'worker_pid={worker} cause=yielded clist=1')
    return '\n'.join(lines) + '\n'


class Conversion(unittest.TestCase):
    """Events in, timelines out."""

    def convert(self, text, *args):
        done = run('--from', '-', '-o', '-', *args, text=text)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        return json.loads(done.stdout)

    def picture(self, text, *args):
        done = run('-f', '-', '-s', '-', *args, text=text)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
        xml.etree.ElementTree.fromstring(done.stdout)
        return done.stdout

    def test_what_they_did(self):
        for text in TRACEFS, TRACE_CMD, PERF:
            trace = self.convert(text)
            self.assertEqual(SCHEDULER, spans(trace, 20))
            self.assertEqual(WORKER, spans(trace, 12))
            self.assertEqual([], spans(trace, 13))

    def test_names(self):
        for text in TRACEFS, TRACE_CMD, PERF:
            events = self.convert(text)['traceEvents']
            names = {(e['name'], e['pid'], e.get('tid')): e['args']
                     for e in events if e['ph'] == 'M'}
            self.assertEqual({'name': 'scheduler prog'},
                             names['thread_name', 10, 20])
            self.assertEqual({'name': 'worker prog'},
                             names['thread_name', 10, 12])
            self.assertEqual({'name': 'prog'}, names['process_name', 10, 10])

    def test_requests(self):
        events = self.convert(TRACEFS)['traceEvents']
        marks = [(e['ts'], e['tid'], e['name']) for e in events
                 if e['ph'] == 'i']
        self.assertEqual([(500, 11, 'slice over')], marks)

    def test_order_of_lines(self):
        lines = TRACEFS.splitlines()
        trace = self.convert('\n'.join(lines[12:] + lines[:12]) + '\n')
        self.assertEqual(SCHEDULER, spans(trace, 20))

    def test_part(self):
        trace = self.convert(TRACEFS, '-b', '250us', '-l', '0.2ms')
        self.assertEqual([(250, 300), (300, 400), (400, 450)],
                         [span[:2] for span in spans(trace, 20)])

    def test_late_beginning(self):
        """Who entered before is known from what they do."""
        lines = TRACEFS.splitlines()[2:]
        trace = self.convert('\n'.join(lines[7:]) + '\n')
        self.assertEqual(SCHEDULER[1:],
                         [(b + 200, e + 200, n, a)
                          for b, e, n, a in spans(trace, 20)])

    def test_lost(self):
        done = run('-f', '-', '-o', '-',
                   text=TRACEFS + 'CPU:1 [LOST 17 EVENTS]\n')
        self.assertEqual(0, done.returncode)
        self.assertIn('17 events were lost', done.stderr)
        self.assertEqual(17, json.loads(done.stdout)['otherData']['lost_events'])

    def test_picture(self):
        svg = self.picture(TRACEFS)
        self.assertIn('1 scheduler, 3 workers', svg)
        self.assertIn('<title>worker 11: 60 us, from 450 us, preempted</title>',
                      svg)
        self.assertIn('<title>idle: 110 us, from 600 us</title>', svg)
        # 100 + 100 + 60 + 70 of 800, 110 idle.
        self.assertIn('workers 41 %', svg)
        self.assertIn('itself 45 %, idle 14 %', svg)

    def test_large_picture(self):
        svg = self.picture(storm(50000))
        self.assertLess(len(svg), 100000)
        # All is too short: it is in blocks, and all of it.
        runs = sum(int(n) for n in re.findall(r'<title>(\d+) runs in', svg))
        self.assertEqual(50000, runs)
        self.assertIn('workers 50 %', svg)

    def test_hostile_name(self):
        text = TRACEFS.replace('prog', 'a"<b>\\&c')
        names = [e['args']['name'] for e in self.convert(text)['traceEvents']
                 if e['name'] == 'process_name']
        self.assertEqual(['a"<b>\\&c'], names)
        self.picture(text)


class Errors(unittest.TestCase):
    """One clear line, and 125."""

    def fails(self, what, *args, text=None):
        done = run(*args, text=text)
        self.assertEqual(125, done.returncode)
        self.assertIn(what, done.stderr)
        self.assertEqual('', done.stdout)

    def test_usage(self):
        done = run('--help')
        self.assertEqual(0, done.returncode)
        self.assertIn('usage: ums-trace', done.stdout)
        self.fails('usage: ', '--wrong')
        self.fails('nothing to write', '--from', '-')
        self.fails('nothing to record', '-o', '/dev/null')
        self.fails('there is no command', '-f', '-', '-o', '-', 'true')

    def test_values(self):
        for wrong in '', 'x', '5', '-1ms', '5 ms', '1e30s', 'nans':
            self.fails('not a time', '-f', '-', '-o', '-', '-b', wrong)
        for wrong in '', '0', '4x', '-4', '99999999999':
            self.fails('not a number', '-m', wrong, '-o', '-', 'true')

    def test_input(self):
        self.fails('No such file', '-f', '/nonexistent', '-o', '-')
        self.fails('no events', '-f', '-', '-o', '-', text='')
        self.fails('no events', '-f', '-', '-o', '-', text='nonsense\n')
        # Clocks that do not tell seconds.
        self.fails('no events', '-f', '-', '-o', '-',
                   text='p-1 [000] 17: ums_exec: scheduler_pid=1\n')

    def test_output(self):
        self.fails('No such file', '-f', '-', '-o', '/nonexistent/x',
                   text=TRACEFS)
        if os.path.exists('/dev/full'):
            self.fails('No space left', '-f', '-', '-o', '/dev/full',
                       text=TRACEFS)


@unittest.skipUnless(os.geteuid() == 0 and
                     os.path.exists('/sys/kernel/tracing/events/ums'),
                     'needs root, tracefs and the driver')
class Recording(unittest.TestCase):
    """What it does with a command."""

    def test_status(self):
        with tempfile.TemporaryDirectory() as folder:
            out = os.path.join(folder, 'out')
            for command, status in (['true'], 0), (['false'], 1), \
                    (['/nonexistent'], 127), (['/'], 126), \
                    (['sh', '-c', 'kill $$'], 143):
                done = run('-o', out, '--', *command)
                self.assertEqual(status, done.returncode)
                if status not in (126, 127):
                    with open(out, encoding='utf-8') as file:
                        json.load(file)


if __name__ == '__main__':
    if len(sys.argv) > 1:
        PROGRAM = sys.argv.pop(1)
    unittest.main()
