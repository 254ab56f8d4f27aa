"""Settings to data, network, a trained RUN and its evaluation: the pieces below, put together."""
