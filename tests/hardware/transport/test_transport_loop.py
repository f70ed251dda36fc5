import os
import threading
import time

import pytest

from hardware.transport.loop import Loop


def test_posts_of_each_thread_keep_their_order_and_none_is_lost(loop):
    made = []

    def post(who):
        for number in range(500):
            loop.post(made.append, (who, number))

    threads = [threading.Thread(target=post, args=(who,)) for who in range(4)]
    loop.call_at(time.monotonic() + 0.02, lambda: None)
    for thread in threads:
        thread.start()

    def end_when_all_are_here():
        if len(made) < 2000:
            loop.call_at(time.monotonic() + 0.001, end_when_all_are_here)
        else:
            loop.stop()

    loop.post(end_when_all_are_here)
    loop.run()
    for thread in threads:
        thread.join()
    assert [[number for who, number in made if who == thread] for thread in range(4)] == [list(range(500))] * 4


def test_timers_are_made_in_the_order_of_their_times_and_never_early(loop):
    now_s, made = time.monotonic(), []
    for delay_s in (0.02, 0.005, 0.01, 0.005):
        loop.call_at(now_s + delay_s, lambda due_s: made.append((due_s, time.monotonic())), now_s + delay_s)
    loop.call_at(now_s + 0.03, loop.stop)
    loop.run()
    assert [round(due_s - now_s, 3) for due_s, _ in made] == [0.005, 0.005, 0.01, 0.02]
    assert all(made_s >= due_s for due_s, made_s in made)


def test_equal_times_keep_their_order_and_a_cancelled_call_is_not_made(loop):
    due_s, made = time.monotonic() + 0.005, []
    timers = [loop.call_at(due_s, made.append, number) for number in range(6)]
    timers[3].cancel()
    loop.call_at(due_s, loop.stop)
    loop.run()
    timers[0].cancel()
    assert made == [0, 1, 2, 4, 5]


def test_an_earlier_timer_that_is_set_later_comes_first(loop):
    made, now_s = [], time.monotonic()
    loop.call_at(now_s + 0.04, loop.stop)
    loop.post(lambda: loop.call_at(now_s + 0.01, lambda: made.append(time.monotonic() - now_s)))
    loop.run()
    assert 0.01 <= made[0] < 0.04


def test_a_call_that_posts_itself_does_not_starve_timers(loop):
    def again():
        loop.post(again)

    loop.post(again)
    loop.call_at(time.monotonic() + 0.01, loop.stop)
    loop.run()


def test_an_exception_ends_run_and_the_loop_can_go_on(loop):
    made = []
    loop.post(lambda: 1 // 0)
    loop.post(made.append, 1)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    loop.post(loop.stop)
    loop.run()
    assert made == [1]


def test_stop_before_run_and_from_another_thread(loop):
    loop.stop()
    loop.run()
    thread = threading.Timer(0.01, loop.stop)
    thread.start()
    loop.run()
    thread.join()


def test_a_descriptor_is_watched_until_it_is_not(loop):
    reading, writing = os.pipe()
    seen = []

    def read():
        seen.append(os.read(reading, 1))
        if len(seen) == 2:
            loop.unwatch(reading)
            loop.unwatch(reading)
            loop.call_at(time.monotonic() + 0.01, loop.stop)

    loop.watch(reading, read)
    os.write(writing, b"abc")
    loop.run()
    assert seen == [b"a", b"b"]
    os.close(reading)
    os.close(writing)


def test_each_loop_is_another_incarnation_and_closes_twice(loop):
    other = Loop()
    other.close()
    other.close()
    assert other.incarnation != loop.incarnation
