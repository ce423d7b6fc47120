"""Ray (extra `ray`): the server as a Ray Serve deployment, and batch jobs over Parquet with Ray Data.

`realizar.contrib.ray.serve` has the application for a serve.yaml, `realizar.contrib.ray.data` the classes for
`map_batches` and a job that can be resumed; docs/deployment.md shows both.
"""

from importlib.util import find_spec

from realizar.errors import MissingExtraError

if find_spec("ray") is None:
    raise MissingExtraError("realizar.contrib.ray needs Ray: pip install 'realizar[ray]'")
