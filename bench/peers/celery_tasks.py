"""The Celery application that is measured, and who gives it work: `python celery_tasks.py COUNT`.

Settings are Celery's defaults except that a task is acknowledged after it ran, as somebody who must not lose messages would set it.
"""

import os
import sys
import time

import urllib3
from celery import Celery

app = Celery("peers", broker=os.environ["BROKER_URL"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    worker_enable_remote_control=False,
)
http = urllib3.PoolManager(maxsize=1)


@app.task
def post(number, text):
    answer = http.request("POST", os.environ["SINK_URL"], json={"to": number, "text": text})
    if answer.status >= 300:
        raise RuntimeError(f"status {answer.status}")


def publish(count):
    """Gives out the work over one connection, and prints when it began (monotonic, the same clock in all processes)."""
    with app.connection_for_write() as connection, app.amqp.Producer(connection) as producer:
        connection.ensure_connection(max_retries=3)
        print(time.monotonic(), flush=True)
        for number in range(count):
            post.apply_async((f"+9198{number:08d}", "Your order is on its way."), producer=producer)


if __name__ == "__main__":
    # The worker knows this file by its module's name, not as a program.
    import celery_tasks

    celery_tasks.publish(int(sys.argv[1]))
