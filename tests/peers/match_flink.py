"""Patterns as smatch has them and as Flink SQL's MATCH_RECOGNIZE has them.

Flink lets no greedy quantifier end a pattern and knows neither alternatives, groups, PERMUTE, exclusion,
{n,m}?? nor prev(); what follows a greedy variable can't be a row that the variable could be (it never goes
back), and WITHIN is less than, not at most.  So patterns that both are asked are of what is left, and of
two neighbours no row can be both."""


def statement(table, key, order, measures, pattern, define, after="past last row", within=None):
    """define: [(variable, condition)]; measures: [(name, expression)]."""
    return ("select * from %s match_recognize (partition by %s order by %s measures %s one row per match "
            "after match skip %s pattern (%s)%s define %s)" % (
                table, key, order, ", ".join("%s as `%s`" % (x, name) for name, x in measures), after, pattern,
                " within interval %s" % within if within else "",
                ", ".join("%s as %s" % d for d in define)))
